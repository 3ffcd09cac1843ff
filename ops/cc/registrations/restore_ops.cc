// Signatures of the ops that begin, end and abandon the restore of a table set.

#include "absl/status/status.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::InferenceContext;

REGISTER_OP("MonolithBeginRestore")
    .Input("handle: resource")
    .Attr("tables: list(string) = []")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Begins the restore of tables, or adds them to the restore that runs.

Mutates the table set. Blocks until the lookups, updates and exports that have
begun on this server are done. From then on the set has no generation, and ops
on it fail with Aborted, except those that clear tables, import rows, counts and
clocks, or report statistics. Forgets the known request ids and the logged
changes. Calling it again is harmless.

handle: the table set.
tables: names of the tables.
)doc");

REGISTER_OP("MonolithEndRestore")
    .Input("handle: resource")
    .Output("unrestored: string")
    .Attr("tables: list(string) = []")
    .Attr("generation: int = 0")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      SetVectors(c);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Ends the restore of tables.

Mutates the table set. When every table whose restore has begun is restored, the
set gets a new generation and may be used again; readers of its deltas start
from a new export. Fails with FailedPrecondition if no restore is running.

handle: the table set.
unrestored: `[n]`, names of the tables that are still to be restored, sorted.
tables: names of the tables that were restored.
generation: positive int63; 0 draws a random one each time the op runs.
)doc");

REGISTER_OP("MonolithAbandonRestore")
    .Input("handle: resource")
    .Attr("generation: int = 0")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Ends a restore that failed half-way, with empty tables.

Mutates the table set. Removes every row of every table, if a restore is
running. Gives the set a new generation in any case.

handle: the table set.
generation: positive int63; 0 draws a random one each time the op runs.
)doc");

}  // namespace
}  // namespace monolith_tf
