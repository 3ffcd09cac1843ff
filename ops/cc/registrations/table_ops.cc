// Signatures of the ops on one server's table set: create, lookup, apply,
// assign, remove, clear, size, export and import.
//
// Synergy of the ops: MonolithTableSetHandle names the resource,
// MonolithTableCreate makes it (and a table in it); every other op finds it and
// fails with FailedPrecondition where it was never made, as on a parameter
// server that came back empty. Rows are float32, ids are int64 and may take
// every value.

#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithTableSetHandle")
    .Attr("container: string = ''")
    .Attr("shared_name: string")
    .Output("handle: resource")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Makes a handle of the table set called `shared_name` on the op's device.

Does not create the table set, so it never blocks and never fails on a server
that has none.
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
Creates a table, and the table set of this server if there is none yet.

A table of the same name and an equal config is left as it is; another config is
refused and both are printed. `dims`, `optimizers`, `initializers` and
`precisions` have one entry a segment of the row; the numbers of all segments
stand one after the other in `hyperparameters` (and so on), with their counts in
`num_hyperparameters`. `regularizations` has five a segment: weight decay, l2,
clip value, clip norm, max norm. `max_rows`, `max_bytes` and `initial_capacity` are of this
shard, `sketch_bytes` of all shards; 0 turns them, the window and the ttl off.
Configs that differ in `initial_capacity` alone are equal. `seed` is the bit
pattern of an unsigned 64-bit seed. `generation` is used only when the table set
is made by this call; 0 is drawn at random.
)doc");

REGISTER_OP("MonolithTableDrop")
    .Input("handle: resource")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Drops a table and frees its rows; ops that are reading it finish first.

Does nothing where the server does not have the table, or the table set.
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
      return IdsAgreeWithRows(c, 1, 2);
    })
    .Doc(R"doc(
Gives a segment of a table the rows that some ids start from. Mutates no row.

`ids` are distinct and `rows` finite, `[n, dim of the segment]`; other ids go on
starting from the initializer. Call it after MonolithTableCreate.
)doc");

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
      ShapeHandle vector;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &vector));
      c->set_output(0, c->Vector(InferenceContext::kUnknownDim));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads rows of several tables. Never blocks for long and changes nothing.

An id without a row reads its initial row, or zeros where admission says so, and
is not inserted; an id that stands twice is read twice; the output keeps the
order of the input.

packed: `[n_0, ..., n_{T-1}, ids of table 0, ..., ids of table T-1]`.
rows: the rows of table 0 `[n_0 * dim_0]`, then those of table 1, and so on, flat.
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
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &ids));
      int64_t dim;
      TF_RETURN_IF_ERROR(c->GetAttr("dim", &dim));
      c->set_output(0, c->Matrix(c->Dim(ids, 0), dim));
      c->set_output(1, ids);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads rows of one table and tells which ids have one. Changes nothing.

An unseen id reads its initial row and `exists` is false for it; duplicates are
read twice; the output keeps the order of `ids`.
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
      ShapeHandle vector;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &vector));
      return c->WithRank(c->input(2), 1, &vector);
    })
    .Doc(R"doc(
Runs each table's optimizer once for every id named. Mutates; a row is changed
under a short lock of its own, so a reader never sees half an update.

An unseen id is inserted with its initial row first, if it is admitted; else its
occurrences are counted and its gradient is dropped. An id whose gradient is not
finite, or beyond 2^48, is passed over and counted in MonolithStats. Ids of one
table should be distinct (MonolithPartitionGradients sees to it); a repeated one
is stepped again, in order. Everything is validated before the first row changes.

packed: `[global_step, event_time, n_0, ..., n_{T-1}, ids of table 0, ...,
  counts of table 0, ...]`; `global_step` >= 1 is the number of this step,
  `event_time` is in seconds since the epoch, in the low 32 bits. Bit 62 says that
  bits 32 to 61 are a request id: of several calls with one id the first changes
  the tables and the others nothing, among the last 65,536 ids of a generation.
  Counts are occurrences in the batch in the low 16 bits (65,535 for more) and,
  above them, the id's own min_count or 0 in 16 bits and its own ttl or 0 in 31.
values: `[learning rates of the segments of table 0, ..., gradients of table 0
  [n_0 * dim_0], ...]`.
)doc");

REGISTER_OP("MonolithAssign")
    .Input("handle: resource")
    .Input("ids: int64")
    .Input("rows: float32")
    .Input("event_time: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(IdsAgreeWithRows(c, 1, 2));
      ShapeHandle scalar;
      return c->WithRank(c->input(3), 0, &scalar);
    })
    .Doc(R"doc(
Sets the weights of rows. Mutates. An unseen id is inserted with initial slots,
whatever admission says; a known one keeps its slots; of a repeated id the last
row stays. `event_time` is when, in seconds since the epoch.
)doc");

REGISTER_OP("MonolithRemove")
    .Input("handle: resource")
    .Input("ids: int64")
    .Output("num_removed: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      ShapeHandle ids;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &ids));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Removes rows with their slots and tells how many there were. Mutates. Unseen and
repeated ids are passed over.
)doc");

REGISTER_OP("MonolithClear")
    .Input("handle: resource")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Removes every row of a table. Mutates.
)doc");

REGISTER_OP("MonolithSize")
    .Input("handle: resource")
    .Output("size: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Number of rows of a table on this server.
)doc");

REGISTER_OP("MonolithSweep")
    .Input("handle: resource")
    .Input("event_time: int64")
    .Output("num_evicted: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      ShapeHandle scalar;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &scalar));
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Evicts the rows whose time ran out and those above the cap, and gives memory back
to the system. Mutates; stops nobody for long.

event_time: seconds since the epoch; what counts is the latest time that the
  table has seen, this one included.
)doc");

REGISTER_OP("MonolithStats")
    .Input("handle: resource")
    .Output("tables: string")
    .Output("stats: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      const DimensionHandle num_tables = c->UnknownDim();
      c->set_output(0, c->Vector(num_tables));
      c->set_output(1, c->Matrix(num_tables, c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"doc(
What the tables of this server tell about themselves. Changes nothing.

tables: names, ordered.
stats: one row a table, the fields of table_stats.h in their order.
)doc");

REGISTER_OP("MonolithExportChunk")
    .Input("handle: resource")
    .Input("cursor: int64")
    .Output("ids: int64")
    .Output("stamps: int64")
    .Output("rows: float32")
    .Output("next_cursor: int64")
    .Attr("table: string")
    .Attr("max_rows: int >= 1")
    .Attr("values: bool = false")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      ShapeHandle cursor;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &cursor));
      const DimensionHandle num_rows = c->UnknownDim();
      c->set_output(0, c->Vector(num_rows));
      c->set_output(1, c->Vector(num_rows));
      c->set_output(2, c->Matrix(num_rows, c->UnknownDim()));
      c->set_output(3, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads up to `max_rows` whole rows (weights, then slots), or with `values` what
lookups return of them. Changes nothing.

Start with cursor 0 and go on with `next_cursor` until it is -1. A row that is
there all the while is read exactly once, whatever happens to others meanwhile.
The order is the table's own.
)doc");

REGISTER_OP("MonolithExportGroups")
    .Input("handle: resource")
    .Output("keys: num_groups * int64")
    .Output("rows: num_groups * float32")
    .Attr("table: string")
    .Attr("first_group: int >= 0")
    .Attr("num_groups: int >= 1")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      int64_t num_groups;
      TF_RETURN_IF_ERROR(c->GetAttr("num_groups", &num_groups));
      for (int64_t g = 0; g < num_groups; ++g) {
        const DimensionHandle num_rows = c->UnknownDim();
        c->set_output(g, c->Matrix(num_rows, 2));
        c->set_output(num_groups + g, c->Matrix(num_rows, c->UnknownDim()));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads the whole rows of consecutive checkpoint groups. Changes nothing.

keys: per group `[n, 2]`: id and stamp (time of the last update in seconds, plus
  2^32 times the frequency, see row.h).
rows: per group `[n, row_width]`: weights, then slots.
)doc");

REGISTER_OP("MonolithImport")
    .Input("handle: resource")
    .Input("keys: int64")
    .Input("rows: float32")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      ShapeHandle keys;
      ShapeHandle rows;
      DimensionHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &keys));
      TF_RETURN_IF_ERROR(c->WithValue(c->Dim(keys, 1), 2, &unused));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 2, &rows));
      return c->Merge(c->Dim(keys, 0), c->Dim(rows, 0), &unused);
    })
    .Doc(R"doc(
Sets whole rows as MonolithExportGroups gave them. Mutates.

Rows of ids that another shard owns are passed over, so every shard may be given
the same group. A row width that is not the table's is refused and nothing
changes.
)doc");

REGISTER_OP("MonolithExportFilter")
    .Input("handle: resource")
    .Output("words: num_groups * int64")
    .Attr("table: string")
    .Attr("first_group: int >= 0")
    .Attr("num_groups: int >= 1")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      int64_t num_groups;
      TF_RETURN_IF_ERROR(c->GetAttr("num_groups", &num_groups));
      for (int64_t g = 0; g < num_groups; ++g) {
        c->set_output(g, c->Vector(InferenceContext::kUnknownDim));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads what admission remembers of the ids of consecutive checkpoint groups: one
vector a group, empty where it is nothing. Changes nothing.
)doc");

REGISTER_OP("MonolithImportFilter")
    .Input("handle: resource")
    .Input("words: int64")
    .Attr("table: string")
    .Attr("group: int >= 0")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      ShapeHandle vector;
      return c->WithRank(c->input(1), 1, &vector);
    })
    .Doc(R"doc(
Puts what MonolithExportFilter gave for a group together with what is there.
Mutates.

Every shard may be given the same group: ids that another shard owns are passed
over. Words of another kind of admission are refused and nothing changes.
)doc");

REGISTER_OP("MonolithReadClock")
    .Input("handle: resource")
    .Output("clock: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      c->set_output(0, c->Vector(2));
      return absl::OkStatus();
    })
    .Doc(R"doc(
How far a table of this server has come. Changes nothing.

clock: number of the latest update, and the latest event time that was seen.
)doc");

REGISTER_OP("MonolithSetClock")
    .Input("handle: resource")
    .Input("clock: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      ShapeHandle clock;
      DimensionHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &clock));
      return c->WithValue(c->Dim(clock, 0), 2, &unused);
    })
    .Doc(R"doc(
Sets what MonolithReadClock reads, back too: part of a restore. Mutates.
)doc");

}  // namespace
}  // namespace monolith_tf
