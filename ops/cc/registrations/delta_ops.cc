// Signatures of the ops that cut deltas and return the state of a table set.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;

REGISTER_OP("MonolithStartDeltas")
    .Input("handle: resource")
    .Output("cut: int64")
    .Attr("max_log_bytes: int = 268435456")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      SetScalars(c);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Starts to log the ids that change, in every table of a table set.

Mutates the logs. Calling it again sets the limit of the log and nothing else.
When the logged ids and those that were taken but not acknowledged take more
memory, all of them are dropped: `MonolithTakeDelta` then fails with OutOfRange
until its reader starts from a new export.

handle: the table set.
cut: the cut reached; deltas hold the changes after it.
max_log_bytes: limit of the log on this server.
)doc");

REGISTER_OP("MonolithStopDeltas")
    .Input("handle: resource")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Stops to log the ids that change, and drops the log.

Mutates the logs. Does nothing if changes are not logged. No delta can be taken
until the log is started again, from a new export.

handle: the table set.
)doc");

REGISTER_OP("MonolithTakeDelta")
    .Input("handle: resource")
    .Input("acked_cut: int64")
    .Output("generation: int64")
    .Output("from_cut: int64")
    .Output("to_cut: int64")
    .Output("ids: num_tables * int64")
    .Output("exists: num_tables * bool")
    .Output("rows: num_tables * float32")
    .Attr("tables: list(string) >= 1")
    .Attr("dims: list(int) >= 1")
    .Attr("num_tables: int >= 1")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(TablesAgreeWithDims(c));
      TF_RETURN_IF_ERROR(InputOfRank(c, "acked_cut", 0));
      std::vector<int64_t> dims;
      int64_t num_tables;
      TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
      TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
      if (num_tables != static_cast<int64_t>(dims.size())) {
        return absl::InvalidArgumentError(
            absl::StrCat("tables must have num_tables entries, ", num_tables,
                         ". Received: ", dims.size(), "."));
      }
      Shapes ids;
      Shapes rows;
      for (const int64_t dim : dims) {
        const DimensionHandle num_ids = c->UnknownDim();
        ids.push_back(c->Vector(num_ids));
        rows.push_back(c->Matrix(num_ids, dim));
      }
      for (const char* scalar : {"generation", "from_cut", "to_cut"}) {
        TF_RETURN_IF_ERROR(SetOutput(c, scalar, c->Scalar()));
      }
      TF_RETURN_IF_ERROR(c->set_output("ids", ids));
      TF_RETURN_IF_ERROR(c->set_output("exists", ids));
      return c->set_output("rows", rows);
    })
    .Doc(R"doc(
Advances the cut and reads the ids that changed after `acked_cut`.

Mutates the cut and the logs. Blocks while it copies the rows; updates continue
meanwhile. Changes above `acked_cut` that an earlier call returned are returned
again, so a lost reply loses nothing. The ids of a table are distinct and
sorted. Fails with OutOfRange if the changes after `acked_cut` are not here: the
log forgot them, or the cut is of a former life of this server.

handle: the table set.
acked_cut: scalar, the last cut whose delta is safe.
generation: scalar, the generation of the table set.
from_cut: scalar; the delta holds the changes after this cut,
to_cut: scalar, up to this cut.
ids: per table `[n]`.
exists: per table `[n]`; false for a row that was removed.
rows: per table `[n, dim]`; zeros for a row that was removed.
tables: names of the tables.
dims: row length of each table.
)doc");

REGISTER_OP("MonolithRenew")
    .Input("handle: resource")
    .Attr("generation: int")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Gives a table set a new generation, as after a restore.

Mutates the table set. Drops the pending deltas and the known request ids of the
old generation. Readers of its deltas start from a new export.

handle: the table set.
generation: positive int63; 0 draws a random one each time the op runs.
)doc");

REGISTER_OP("MonolithTableSetStatus")
    .Input("handle: resource")
    .Output("generation: int64")
    .Output("cut: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      SetScalars(c);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Reads the generation and the cut of this server's table set.

Does not block and changes nothing.

handle: the table set.
generation: scalar.
cut: scalar.
)doc");

}  // namespace
}  // namespace monolith_tf
