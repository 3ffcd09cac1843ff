// Signatures of the ops that cut deltas and tell the state of a table set.

#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

absl::Status ScalarOutputs(InferenceContext* c) {
  for (int i = 0; i < c->num_outputs(); ++i) c->set_output(i, c->Scalar());
  return absl::OkStatus();
}

REGISTER_OP("MonolithStartDeltas")
    .Input("handle: resource")
    .Output("cut: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      return ScalarOutputs(c);
    })
    .Doc(R"doc(
Starts to log which ids change, in every table of the set. Idempotent.

cut: the cut reached; deltas hold what changes after it.
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
      ShapeHandle scalar;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &scalar));
      std::vector<int64_t> dims;
      int64_t num_tables;
      TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
      TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
      if (num_tables != static_cast<int64_t>(dims.size())) {
        return absl::InvalidArgumentError(
            absl::StrCat("`num_tables` is ", num_tables, " but `tables` has ",
                         dims.size(), " entries."));
      }
      c->set_output(0, c->Scalar());
      c->set_output(1, c->Scalar());
      c->set_output(2, c->Scalar());
      for (int64_t t = 0; t < num_tables; ++t) {
        const DimensionHandle num_ids = c->UnknownDim();
        c->set_output(3 + t, c->Vector(num_ids));
        c->set_output(3 + num_tables + t, c->Vector(num_ids));
        c->set_output(3 + 2 * num_tables + t, c->Matrix(num_ids, dims[t]));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Advances the cut and reads the ids that changed in (acked_cut, to_cut].

What an earlier call handed out above `acked_cut` comes again, so a lost reply
loses nothing. Ids of a table are distinct and sorted; where `exists` is false
the row was removed and its row here is zeros. Blocks for as long as the rows
take to copy; updates go on meanwhile. OutOfRange when the changes after
`acked_cut` are not here: forgotten, or of a former life of this server.
)doc");

REGISTER_OP("MonolithRenew")
    .Input("handle: resource")
    .Attr("generation: int")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) { return HandleShape(c); })
    .Doc(R"doc(
Gives the table set a new generation, as after a restore. Pending deltas of the
old generation are dropped: whoever follows them has to start from a new export.
A generation of 0 is drawn at random each time the op runs.
)doc");

REGISTER_OP("MonolithTableSetStatus")
    .Input("handle: resource")
    .Output("generation: int64")
    .Output("cut: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      return ScalarOutputs(c);
    })
    .Doc(R"doc(
Generation and cut of this server's table set.
)doc");

}  // namespace
}  // namespace monolith_tf
