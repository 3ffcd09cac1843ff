// Floats that travel in 16-bit words. The op before a wire narrows on one side,
// the op behind it widens on the other.

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
      ShapeHandle vector;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &vector));
      int64_t num_exact;
      TF_RETURN_IF_ERROR(c->GetAttr("num_exact", &num_exact));
      DimensionHandle num_words;
      TF_RETURN_IF_ERROR(c->Add(c->Dim(vector, 0), num_exact, &num_words));
      c->set_output(0, c->Vector(num_words));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Writes floats as 16-bit words, rounded to nearest.

A finite float beyond what the format holds becomes the largest it holds.

floats: `[n]`.
words: `[n + num_exact]`: of each of the first `num_exact` floats its lower and its
  upper half; then a word for every other float.
)doc");

REGISTER_OP("MonolithWiden")
    .Input("words: uint16")
    .Output("floats: float32")
    .Attr("format: {'bfloat16', 'float16'}")
    .Attr("num_exact: int >= 0 = 0")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle vector;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &vector));
      int64_t num_exact;
      TF_RETURN_IF_ERROR(c->GetAttr("num_exact", &num_exact));
      DimensionHandle num_floats;
      TF_RETURN_IF_ERROR(
          c->Subtract(c->Dim(vector, 0), num_exact, &num_floats));
      c->set_output(0, c->Vector(num_floats));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads what MonolithNarrow wrote with the same `format` and `num_exact`.

words: `[m]`, m at least `2 * num_exact`.
floats: `[m - num_exact]`.
)doc");

}  // namespace
}  // namespace monolith_tf
