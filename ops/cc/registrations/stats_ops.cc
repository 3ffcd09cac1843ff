// Signatures of the ops that read statistics of tables, and counters of servers
// and workers.

#include "absl/status/status.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;

REGISTER_OP("MonolithStats")
    .Input("handle: resource")
    .Output("tables: string")
    .Output("stats: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      const DimensionHandle num_tables = c->UnknownDim();
      TF_RETURN_IF_ERROR(SetOutput(c, "tables", c->Vector(num_tables)));
      return SetOutput(c, "stats", c->Matrix(num_tables, c->UnknownDim()));
    })
    .Doc(R"doc(
Reads the statistics of this server's tables.

Does not block and changes nothing. Tables are sorted by name.

handle: the table set.
tables: `[T]`, their names.
stats: `[T, S]`; columns are the fields of table_stats.h, in their order.
)doc");

REGISTER_OP("MonolithRequestCounts")
    .Input("handle: resource")
    .Output("counts: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      return SetOutput(c, "counts", c->Vector(3));
    })
    .Doc(R"doc(
Counts the updates that this server has applied, dropped and refused.

Does not block and changes nothing. Counts start when the table set is created.
An update is dropped if its request id is known, and refused if that is too old
to know.

handle: the table set.
counts: `[3]`: updates applied, updates dropped, updates refused.
)doc");

REGISTER_OP("MonolithExportRequests")
    .Input("handle: resource")
    .Output("marks: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      SetVectors(c);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads which requests this server has applied.

Changes nothing. The numbers take O(clients); docs/formats.md specifies them.

handle: the table set.
marks: `[n]`.
)doc");

REGISTER_OP("MonolithImportRequests")
    .Input("handle: resource")
    .Input("marks: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      return InputOfRank(c, "marks", 1);
    })
    .Doc(R"doc(
Sets which requests this server has applied, as part of a restore.

Mutates the known requests, and replaces all of them. Fails with
InvalidArgument, and changes nothing, for other numbers than those of
`MonolithExportRequests`.

handle: the table set.
marks: `[n]`.
)doc");

REGISTER_OP("MonolithServerCounters")
    .Output("counters: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      return SetOutput(c, "counters", c->Matrix(2, 5));
    })
    .Doc(R"doc(
Counts the lookups and updates of this process.

Does not block and changes nothing. Counts those of all table sets.

counters: `[2, 5]`; row 0 is of `MonolithLookup`, row 1 of `MonolithApply`. Columns:
  calls, ids, bytes in and out, nanoseconds inside the op, calls inside it now.
)doc");

REGISTER_OP("MonolithWorkerCounters")
    .Output("counters: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      return SetOutput(c, "counters", c->Vector(4));
    })
    .Doc(R"doc(
Counts the steps that this process ran as a worker, and their time.

Does not block and changes nothing.

counters: `[4]`: lookups, nanoseconds from ids to vectors, steps with gradients,
  nanoseconds from vectors to gradients.
)doc");

}  // namespace
}  // namespace monolith_tf
