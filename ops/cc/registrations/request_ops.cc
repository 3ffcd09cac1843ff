// What a server tells about the calls that it took, a worker about its steps.

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

REGISTER_OP("MonolithServerCounters")
    .Output("counters: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Matrix(2, 5));
      return absl::OkStatus();
    })
    .Doc(R"doc(
What this process has done for all table sets in it. Changes nothing.

counters: of MonolithLookup, then of MonolithApply: calls, ids, bytes in and out,
  nanoseconds inside the op, calls that are inside it now.
)doc");

REGISTER_OP("MonolithWorkerCounters")
    .Output("counters: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Vector(4));
      return absl::OkStatus();
    })
    .Doc(R"doc(
What the steps that this process ran as a worker took. Changes nothing.

counters: lookups, nanoseconds from ids to vectors, steps that had gradients,
  nanoseconds from vectors to gradients.
)doc");

}  // namespace
}  // namespace monolith_tf
