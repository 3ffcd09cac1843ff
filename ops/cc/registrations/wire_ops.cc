// Signatures of the ops that send floats as 16-bit words: one narrows before
// the wire, the other widens behind it.

#include <cstdint>

#include "absl/status/status.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithNarrow")
    .Input("floats: float32")
    .Output("words: uint16")
    .Attr("format: {'bfloat16', 'float16'}")
    .Attr("num_exact: int >= 0 = 0")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle floats;
      TF_RETURN_IF_ERROR(InputOfRank(c, "floats", 1, &floats));
      int64_t num_exact;
      TF_RETURN_IF_ERROR(c->GetAttr("num_exact", &num_exact));
      DimensionHandle num_words;
      TF_RETURN_IF_ERROR(c->Add(c->Dim(floats, 0), num_exact, &num_words));
      return SetOutput(c, "words", c->Vector(num_words));
    })
    .Doc(R"doc(
Rounds floats to 16-bit words, each to the nearest.

A finite float beyond the range of the format becomes its largest finite number,
with the same sign. Words keep the order of the floats.

floats: `[n]`.
words: `[n + num_exact]`: of each of the first `num_exact` floats its lower and its
  upper half; then one word per float.
format: the format of a word.
num_exact: the number of floats at the beginning that keep all bits.
)doc");

REGISTER_OP("MonolithWiden")
    .Input("words: uint16")
    .Output("floats: float32")
    .Attr("format: {'bfloat16', 'float16'}")
    .Attr("num_exact: int >= 0 = 0")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle words;
      TF_RETURN_IF_ERROR(InputOfRank(c, "words", 1, &words));
      int64_t num_exact;
      TF_RETURN_IF_ERROR(c->GetAttr("num_exact", &num_exact));
      DimensionHandle num_floats;
      TF_RETURN_IF_ERROR(c->Subtract(c->Dim(words, 0), num_exact, &num_floats));
      return SetOutput(c, "floats", c->Vector(num_floats));
    })
    .Doc(R"doc(
Reads the floats that `MonolithNarrow` wrote with the same arguments.

Floats keep the order of the words.

words: `[m]`, m at least `2 * num_exact`.
floats: `[m - num_exact]`.
format: the format of a word.
num_exact: the number of floats at the beginning that kept all bits.
)doc");

}  // namespace
}  // namespace monolith_tf
