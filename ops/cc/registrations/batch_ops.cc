// Signatures of the ops that a worker runs on its own batch: make ids distinct,
// split them by shard, put the rows together again, and the same for gradients.

#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithPartition")
    .Input("ids: num_tables * int64")
    .Output("packed: num_shards * int64")
    .Output("positions: num_tables * int64")
    .Attr("num_tables: int >= 1")
    .Attr("num_shards: int >= 1")
    .SetShapeFn([](InferenceContext* c) {
      int64_t num_tables;
      int64_t num_shards;
      TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
      TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
      for (int64_t s = 0; s < num_shards; ++s) {
        c->set_output(s, c->Vector(InferenceContext::kUnknownDim));
      }
      for (int64_t t = 0; t < num_tables; ++t) {
        ShapeHandle ids;
        TF_RETURN_IF_ERROR(c->WithRank(c->input(t), 1, &ids));
        c->set_output(num_shards + t, ids);
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Makes the ids of each table distinct and splits them by the shard that owns them.

packed: per shard, the input of MonolithLookup, distinct ids in the order in
  which they first stand.
positions: per table `[n]`, where the row of each id will be: shard in the upper
  24 bits, index among that shard's ids of the table in the lower 40.
)doc");

REGISTER_OP("MonolithGatherRows")
    .Input("packed: num_shards * int64")
    .Input("shard_rows: num_shards * float32")
    .Input("positions: num_tables * int64")
    .Output("rows: num_tables * float32")
    .Attr("num_tables: int >= 1")
    .Attr("num_shards: int >= 1")
    .Attr("dims: list(int) >= 1")
    .SetShapeFn([](InferenceContext* c) {
      int64_t num_tables;
      int64_t num_shards;
      std::vector<int64_t> dims;
      TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
      TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
      TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
      if (static_cast<int64_t>(dims.size()) != num_tables) {
        return absl::InvalidArgumentError(
            absl::StrCat("`dims` needs one entry a table; got ", dims.size(),
                         " for ", num_tables, " tables."));
      }
      ShapeHandle vector;
      for (int64_t s = 0; s < 2 * num_shards; ++s) {
        TF_RETURN_IF_ERROR(c->WithRank(c->input(s), 1, &vector));
      }
      for (int64_t t = 0; t < num_tables; ++t) {
        TF_RETURN_IF_ERROR(
            c->WithRank(c->input(2 * num_shards + t), 1, &vector));
        c->set_output(t, c->Matrix(c->Dim(vector, 0), dims[t]));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Puts the answers of all shards together: rows `[n, dim]` per table, in the order
of the ids that MonolithPartition was given, duplicates repeated.
)doc");

REGISTER_OP("MonolithPartitionGradients")
    .Input("global_step: int64")
    .Input("event_time: int64")
    .Input("learning_rates: float32")
    .Input("ids: num_tables * int64")
    .Input("gradients: num_tables * float32")
    .Output("packed: num_shards * int64")
    .Output("values: num_shards * float32")
    .Attr("num_tables: int >= 1")
    .Attr("num_shards: int >= 1")
    .SetShapeFn([](InferenceContext* c) {
      int64_t num_tables;
      int64_t num_shards;
      TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
      TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &unused));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &unused));
      TF_RETURN_IF_ERROR(c->Merge(c->input(2), c->Vector(num_tables), &unused));
      for (int64_t t = 0; t < num_tables; ++t) {
        TF_RETURN_IF_ERROR(IdsAgreeWithRows(c, 3 + t, 3 + num_tables + t));
      }
      for (int64_t s = 0; s < 2 * num_shards; ++s) {
        c->set_output(s, c->Vector(InferenceContext::kUnknownDim));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Sums the gradients of equal ids, counts them and splits them by shard.

The sum runs in the order of the input, in float32. The outputs are, per shard,
the inputs of MonolithApply.
)doc");

REGISTER_OP("MonolithAttach")
    .Input("anchor: float32")
    .Input("rows: float32")
    .Input("ids: int64")
    .Output("output: float32")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle anchor;
      ShapeHandle merged;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &anchor));
      TF_RETURN_IF_ERROR(IdsAgreeWithRows(c, 2, 1));
      TF_RETURN_IF_ERROR(c->Merge(
          c->input(1), c->Matrix(c->Dim(c->input(2), 0), c->Dim(anchor, 1)),
          &merged));
      c->set_output(0, merged);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Passes `rows` on and ties them to a table's zero-row variable.

The gradient for `anchor` is tf.IndexedSlices(gradient of the output, ids): that
is how the gradient of a lookup is a value. The value of `anchor` is not used.
)doc");

}  // namespace
}  // namespace monolith_tf
