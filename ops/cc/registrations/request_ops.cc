// What a server tells about the updates that it took.

#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::InferenceContext;

REGISTER_OP("MonolithRequestCounts")
    .Input("handle: resource")
    .Output("counts: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      c->set_output(0, c->Vector(2));
      return absl::OkStatus();
    })
    .Doc(R"doc(
How many updates this server has taken since the table set was made. Changes
nothing.

counts: `[applied, repeated]`: calls of MonolithApply that changed the tables, and
  calls that changed nothing because their request id was known.
)doc");

}  // namespace
}  // namespace monolith_tf
