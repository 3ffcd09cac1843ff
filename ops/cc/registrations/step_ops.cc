// Signatures of the ops that a training step runs on a server, each once for
// all tables: lookup and apply.

#include "absl/status/status.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::InferenceContext;

REGISTER_OP("MonolithLookup")
    .Input("handle: resource")
    .Input("packed: int64")
    .Output("rows: float32")
    .Attr("tables: list(string) >= 1")
    .Attr("dims: list(int) >= 1")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(TablesAgreeWithDims(c));
      TF_RETURN_IF_ERROR(InputOfRank(c, "packed", 1));
      SetVectors(c);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads rows of several tables.

Does not block and changes nothing. An unknown id reads its initial row, or zeros
if the table's admission says so, and is not inserted. A duplicate id is read
once per occurrence. Rows keep the order of the ids.

handle: the table set.
packed: `[n_0, ..., n_{T-1}, ids of table 0, ..., ids of table T-1]`.
rows: flat: the rows of table 0 `[n_0 * dim_0]`, then of table 1, and so on.
tables: names of the T tables.
dims: row length of each table.
)doc");

REGISTER_OP("MonolithApply")
    .Input("handle: resource")
    .Input("packed: int64")
    .Input("values: float32")
    .Attr("tables: list(string) >= 1")
    .Attr("dims: list(int) >= 1")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(TablesAgreeWithDims(c));
      TF_RETURN_IF_ERROR(InputOfRank(c, "packed", 1));
      return InputOfRank(c, "values", 1);
    })
    .Doc(R"doc(
Runs the optimizer of each table once per id.

Mutates the tables. A row changes under a short lock of its own, so no reader
sees half of an update. An unknown id is inserted with its initial row first if
it is admitted; otherwise its occurrences are counted and its gradient is
dropped. An id is skipped, and counted as a bad gradient, if an element of its
gradient is not finite or is larger than 2^48. A duplicate id is updated once per
occurrence, in order; `MonolithPartitionGradients` makes ids distinct. All inputs
are checked before the first row changes.

handle: the table set.
packed: `[global_step, event_time, n_0, ..., n_{T-1}, ids of table 0, ..., counts
  of table 0, ...]`. The first step has `global_step` 1. `event_time` is in
  seconds since the epoch, in the low 32 bits. Bit 62 tells that a request
  follows it, `client, sequence`: of several calls with one request the first
  changes the tables and the others nothing. A sequence that more than 1,024 of
  its client overtook is refused with FailedPrecondition. A count has the occurrences of the id in the batch in its low 16 bits (65,535 for more),
  and the overrides of the id above them (packed_count.h).
values: `[learning rate per segment of table 0, ..., gradients of table 0
  [n_0 * dim_0], ...]`.
tables: names of the T tables.
dims: row length of each table.
)doc");

}  // namespace
}  // namespace monolith_tf
