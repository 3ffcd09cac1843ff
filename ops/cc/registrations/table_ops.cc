// Signatures of the ops that create, read and change one table of a server's
// table set.
//
// MonolithTableSetHandle names the resource, MonolithTableCreate creates it
// with its first table. The other ops find it. They fail with
// FailedPrecondition where it was never created, as on a parameter server that
// came back empty. Ids are int64 and may have every value; rows are float32.

#include <cstdint>

#include "absl/status/status.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithTableSetHandle")
    .Attr("container: string = ''")
    .Attr("shared_name: string")
    .Output("handle: resource")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      return SetOutput(c, "handle", c->Scalar());
    })
    .Doc(R"doc(
Returns a handle of a table set on the op's device.

Never blocks and changes nothing: the table set need not exist, and the op does
not create it.

handle: scalar, the table set.
container: resource container; the default one if empty.
shared_name: name of the table set, unique on the server.
)doc");

REGISTER_OP("MonolithTableCreate")
    .Input("handle: resource")
    .Attr("table: string")
    .Attr("dims: list(int) >= 1")
    .Attr("optimizers: list(string) >= 1")
    .Attr("num_hyperparameters: list(int) >= 1")
    .Attr("hyperparameters: list(float)")
    .Attr("regularizations: list(float)")
    .Attr("initializers: list(string) >= 1")
    .Attr("num_initializer_parameters: list(int) >= 1")
    .Attr("initializer_parameters: list(float)")
    .Attr("precisions: list(string) >= 1")
    .Attr("num_precision_parameters: list(int) >= 1")
    .Attr("precision_parameters: list(float)")
    .Attr("seed: int")
    .Attr("admission: string = 'all'")
    .Attr("min_count: int = 1")
    .Attr("probability: float = 1.0")
    .Attr("sketch_bytes: int = 0")
    .Attr("window_seconds: int = 0")
    .Attr("reads_zeros: bool = false")
    .Attr("ttl_seconds: int = 0")
    .Attr("max_future_seconds: int = 0")
    .Attr("max_rows: int = 0")
    .Attr("max_bytes: int = 0")
    .Attr("policy: string = 'lru'")
    .Attr("tracks_changes: bool = true")
    .Attr("initial_capacity: int = 0")
    .Attr("shard: int")
    .Attr("num_shards: int")
    .Attr("generation: int")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Creates a table, and the table set of this server if there is none.

Mutates the server. A table of the same name with an equal config stays
unchanged; configs that differ only in their initial capacity are equal. Fails
with InvalidArgument, showing both, if the table has another config or the
server is another shard.

handle: the table set.
table: name of the table.
dims: row length of each segment.
optimizers: kind of each segment's optimizer.
initializers: kind of each segment's initializer.
precisions: kind of each segment's precision.
num_hyperparameters: per segment its number of entries in hyperparameters.
num_initializer_parameters: per segment its number of entries in initializer_parameters.
num_precision_parameters: per segment its number of entries in precision_parameters.
hyperparameters: numbers of all
  segments, one after the other.
initializer_parameters: numbers of all
  segments, one after the other.
precision_parameters: numbers of all
  segments, one after the other.
regularizations: five numbers per segment: weight decay, l2, clip value, clip
  norm, max norm.
seed: bit pattern of an unsigned 64-bit seed.
admission: kind of the admission filter.
min_count: occurrences that admit an id.
probability: probability that an occurrence admits an id.
sketch_bytes: bytes of the sketch of all shards; 0 for exact counts.
window_seconds: time that a count lasts; 0 for ever.
reads_zeros: true if an id that is not admitted reads zeros.
ttl_seconds: time to live of a row after its last update; 0 for ever.
max_future_seconds: how far an event time may be ahead of both the server's
  clock and the latest time that the table has seen; 0 for no limit.
max_rows: capacity limit of this shard in rows; 0 for none.
max_bytes: capacity limit of this shard in bytes; 0 for none.
policy: the rows that a capacity limit evicts.
tracks_changes: true if rows know their last update.
initial_capacity: rows of this shard that memory is reserved for; 0 for none.
shard: the shard of this server, 0 to num_shards - 1.
num_shards: number of servers.
generation: positive int63, the generation of a table set that the op creates; 0
  draws a random one each time the op runs.
)doc");

REGISTER_OP("MonolithTableDrop")
    .Input("handle: resource")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Drops a table and frees its rows.

Mutates the server. Does not wait for ops that run on the table: memory is freed
when they finish. Does nothing where the server does not have the table, or the
table set.

handle: the table set.
table: name of the table.
)doc");

REGISTER_OP("MonolithSetPretrained")
    .Input("handle: resource")
    .Input("ids: int64")
    .Input("rows: float32")
    .Attr("table: string")
    .Attr("segment: int >= 0")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      return IdsAgreeWithRows(c);
    })
    .Doc(R"doc(
Sets the rows that some ids of a table start from, in one segment.

Mutates initial rows, but no row that exists. Call it after
`MonolithTableCreate`. Other ids start from the segment's initializer. Fails with
InvalidArgument for duplicate ids and for numbers that are not finite.

handle: the table set.
ids: `[n]`, distinct.
rows: `[n, dim of the segment]`, finite.
table: name of the table.
segment: index of the segment.
)doc");

REGISTER_OP("MonolithLookupWithExists")
    .Input("handle: resource")
    .Input("ids: int64")
    .Output("rows: float32")
    .Output("exists: bool")
    .Attr("table: string")
    .Attr("dim: int >= 1")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      ShapeHandle ids;
      TF_RETURN_IF_ERROR(InputOfRank(c, "ids", 1, &ids));
      int64_t dim;
      TF_RETURN_IF_ERROR(c->GetAttr("dim", &dim));
      TF_RETURN_IF_ERROR(SetOutput(c, "rows", c->Matrix(c->Dim(ids, 0), dim)));
      return SetOutput(c, "exists", ids);
    })
    .Doc(R"doc(
Reads rows of one table, and whether each id has a row.

Does not block and changes nothing. An unknown id reads its initial row, or zeros
if the table's admission says so, and is not inserted. A duplicate id is read
once per occurrence. Rows keep the order of the ids.

handle: the table set.
ids: `[n]`.
rows: `[n, dim]`.
exists: `[n]`, false for an unknown id.
table: name of the table.
dim: its row length.
)doc");

REGISTER_OP("MonolithAssign")
    .Input("handle: resource")
    .Input("ids: int64")
    .Input("rows: float32")
    .Input("event_time: int64")
    .Attr("table: string")
    .Attr("in_restore: bool = false")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(IdsAgreeWithRows(c));
      return InputOfRank(c, "event_time", 0);
    })
    .Doc(R"doc(
Sets the weights of rows.

Mutates the table. An unknown id is inserted with initial optimizer slots,
whatever its admission. A known id keeps its slots. The last row of a duplicate
id holds.

handle: the table set.
ids: `[n]`.
rows: `[n, dim]`.
event_time: scalar, seconds since the epoch.
table: name of the table.
in_restore: true for rows that a restore sets, while it runs.
)doc");

REGISTER_OP("MonolithRemove")
    .Input("handle: resource")
    .Input("ids: int64")
    .Output("num_removed: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(InputOfRank(c, "ids", 1));
      return SetOutput(c, "num_removed", c->Scalar());
    })
    .Doc(R"doc(
Removes rows with their optimizer slots, and counts them.

Mutates the table. Skips unknown ids, and the repetitions of duplicate ids.

handle: the table set.
ids: `[n]`.
num_removed: scalar, the number of rows that were removed.
table: name of the table.
)doc");

REGISTER_OP("MonolithClear")
    .Input("handle: resource")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Removes every row of a table.

Mutates the table. Counts and sketches of its admission filter are cleared too.

handle: the table set.
table: name of the table.
)doc");

REGISTER_OP("MonolithSize")
    .Input("handle: resource")
    .Output("size: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      return SetOutput(c, "size", c->Scalar());
    })
    .Doc(R"doc(
Returns the number of rows of a table on this server.

Does not block and changes nothing.

handle: the table set.
size: scalar.
table: name of the table.
)doc");

REGISTER_OP("MonolithSweep")
    .Input("handle: resource")
    .Input("event_time: int64")
    .Output("num_evicted: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(InputOfRank(c, "event_time", 0));
      return SetOutput(c, "num_evicted", c->Scalar());
    })
    .Doc(R"doc(
Evicts expired rows and rows above the capacity limit.

Mutates the table, and returns free memory to the system. Lookups and updates
continue meanwhile. The clock of the table is the latest event time that it has
seen, this one included.

handle: the table set.
event_time: scalar, seconds since the epoch.
num_evicted: scalar, the number of rows that were evicted.
table: name of the table.
)doc");

}  // namespace
}  // namespace monolith_tf
