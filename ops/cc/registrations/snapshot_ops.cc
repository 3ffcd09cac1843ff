// Signatures of the ops that write and read the parts of a snapshot.

#include "absl/status/status.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::InferenceContext;

REGISTER_OP("MonolithSnapshotBegin")
    .Input("handle: resource")
    .Input("parent_cut: int64")
    .Output("generation: int64")
    .Output("from_cut: int64")
    .Output("to_cut: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(InputOfRank(c, "parent_cut", 0));
      SetScalars(c);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Takes the moment of a snapshot of this server's tables.

Advances the cut, starts to log the ids that change, and drops a snapshot that
was begun and never written. Rows that change from now on are copied first,
until `MonolithSnapshotWrite` has written them. Fails with OutOfRange if the
changes after parent_cut are not known any more, as after a restart of the
server. Take a full snapshot then.

handle: the table set.
parent_cut: the cut of the durable snapshot that this one continues; -1 for a
  full snapshot.
generation: of the table set.
from_cut: parent_cut.
to_cut: the cut of this snapshot.
)doc");

REGISTER_OP("MonolithSnapshotWrite")
    .Input("handle: resource")
    .Input("path: string")
    .Input("snapshot_id: string")
    .Output("summary: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(InputOfRank(c, "path", 0));
      TF_RETURN_IF_ERROR(InputOfRank(c, "snapshot_id", 0));
      return SetOutput(c, "summary", c->Vector(5));
    })
    .Doc(R"doc(
Writes the snapshot that was begun to a part file, and makes it durable.

Lookups and updates continue meanwhile. Uses threads of its own and bounded
buffers. The file is complete only if the op succeeds.

handle: the table set.
path: the file, replaced if it exists; its folders are made.
snapshot_id: 16 bytes that name the snapshot.
summary: size of the file in bytes, its CRC32C, its rows, its removed ids, and
  the most bytes that copies of changed rows took.
)doc");

REGISTER_OP("MonolithSnapshotAbort")
    .Input("handle: resource")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Drops the snapshot that was begun, and stops the one being written.

Its changes belong to the next snapshot. Does nothing if there is none.

handle: the table set.
)doc");

REGISTER_OP("MonolithSnapshotRead")
    .Input("handle: resource")
    .Input("path: string")
    .Output("counts: int64")
    .Attr("tables: list(string) = []")
    .Attr("reads_state: bool = true")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(InputOfRank(c, "path", 0));
      return SetOutput(c, "counts", c->Vector(2));
    })
    .Doc(R"doc(
Reads from a part file the rows that this server owns.

Sets rows and removes those that an increment removed; others stay. Fails with
InvalidArgument before anything changes if a table does not fit, and with
DataLoss if the file is damaged.

handle: the table set.
path: the file.
counts: numbers of rows that were set and removed.
tables: names of the tables to read; all of the file if empty.
reads_state: whether to read clocks and admission counts too; those of the last
  file of a chain hold.
)doc");

}  // namespace
}  // namespace monolith_tf
