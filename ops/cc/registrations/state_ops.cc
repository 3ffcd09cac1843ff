// Signatures of the ops that export and import the state of a table: rows,
// filter, clock.

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
      TF_RETURN_IF_ERROR(InputOfRank(c, "cursor", 0));
      const DimensionHandle num_rows = c->UnknownDim();
      TF_RETURN_IF_ERROR(SetOutput(c, "ids", c->Vector(num_rows)));
      TF_RETURN_IF_ERROR(SetOutput(c, "stamps", c->Vector(num_rows)));
      TF_RETURN_IF_ERROR(
          SetOutput(c, "rows", c->Matrix(num_rows, c->UnknownDim())));
      return SetOutput(c, "next_cursor", c->Scalar());
    })
    .Doc(R"doc(
Reads the rows of a table, some per call.

Changes nothing. Start with cursor 0 and continue with each next cursor until
that is -1. A row that exists during the whole export is read exactly once,
whatever happens to other rows. The order is the table's own.

handle: the table set.
cursor: scalar.
ids: `[n]`.
stamps: `[n]`: seconds of the last update plus 2^32 times the frequency (row.h).
rows: `[n, row_width]`: weights, then optimizer slots. With `values` `[n, dim]`,
  the rows that lookups return.
next_cursor: scalar.
table: name of the table.
max_rows: the largest n.
values: see rows.
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
      Shapes keys;
      Shapes rows;
      for (int64_t g = 0; g < num_groups; ++g) {
        const DimensionHandle num_rows = c->UnknownDim();
        keys.push_back(c->Matrix(num_rows, 2));
        rows.push_back(c->Matrix(num_rows, c->UnknownDim()));
      }
      TF_RETURN_IF_ERROR(c->set_output("keys", keys));
      return c->set_output("rows", rows);
    })
    .Doc(R"doc(
Reads the whole rows of consecutive checkpoint groups.

Changes nothing. The order within a group is the table's own.

handle: the table set.
keys: per group `[n, 2]`: id and stamp (`MonolithExportChunk`).
rows: per group `[n, row_width]`: weights, then optimizer slots.
table: name of the table.
first_group: the first of the groups, 0 to 63.
num_groups: number of groups.
)doc");

REGISTER_OP("MonolithImportRows")
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
      TF_RETURN_IF_ERROR(InputOfRank(c, "keys", 2, &keys));
      TF_RETURN_IF_ERROR(c->WithValue(c->Dim(keys, 1), 2, &unused));
      TF_RETURN_IF_ERROR(InputOfRank(c, "rows", 2, &rows));
      return c->Merge(c->Dim(keys, 0), c->Dim(rows, 0), &unused);
    })
    .Doc(R"doc(
Sets whole rows that `MonolithExportGroups` returned.

Mutates the table. Skips the ids that another shard owns, so every shard may get
the same group. An unknown id is inserted, whatever its admission. Fails with
InvalidArgument, and changes nothing, if the row width is not the table's.

handle: the table set.
keys: `[n, 2]`: id and stamp.
rows: `[n, row_width]`: weights, then optimizer slots.
table: name of the table.
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
      SetVectors(c);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads the state of the admission filter of consecutive checkpoint groups.

Changes nothing. A group without state is empty.

handle: the table set.
words: per group `[n]`.
table: name of the table.
first_group: the first of the groups, 0 to 63.
num_groups: number of groups.
)doc");

REGISTER_OP("MonolithImportFilter")
    .Input("handle: resource")
    .Input("words: int64")
    .Attr("table: string")
    .Attr("group: int >= 0")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      return InputOfRank(c, "words", 1);
    })
    .Doc(R"doc(
Adds the state that `MonolithExportFilter` returned for a group to a table's.

Mutates the admission filter. Skips the ids that another shard owns, so every
shard may get the same group. Fails with InvalidArgument, and changes nothing,
for the state of another kind of admission.

handle: the table set.
words: `[n]`.
table: name of the table.
group: the group, 0 to 63.
)doc");

REGISTER_OP("MonolithReadClock")
    .Input("handle: resource")
    .Output("clock: int64")
    .Attr("table: string")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      return SetOutput(c, "clock", c->Vector(2));
    })
    .Doc(R"doc(
Reads the latest step and event time of a table on this server.

Does not block and changes nothing.

handle: the table set.
clock: `[2]`: step and event time, in seconds since the epoch.
table: name of the table.
)doc");

REGISTER_OP("MonolithSetClock")
    .Input("handle: resource")
    .Input("clock: int64")
    .Attr("table: string")
    .Attr("in_restore: bool = false")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      ShapeHandle clock;
      DimensionHandle unused;
      TF_RETURN_IF_ERROR(InputOfRank(c, "clock", 1, &clock));
      return c->WithValue(c->Dim(clock, 0), 2, &unused);
    })
    .Doc(R"doc(
Sets the clock that `MonolithReadClock` returns.

Mutates the table. The clock may go back. A time that is more than the table's
`max_future_seconds` ahead of the server's fails with InvalidArgument. In a
restore it is counted and logged instead, and the rows that are imported set the
clock.

handle: the table set.
clock: `[2]`: step, or -1 to keep the present one, and event time, in seconds
  since the epoch.
table: name of the table.
in_restore: true for the clock of a checkpoint.
)doc");

}  // namespace
}  // namespace monolith_tf
