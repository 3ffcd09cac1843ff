// Signatures of the ops that turn the ids of all features of a worker's batch
// into vectors: make ids distinct and split them by shard, combine the rows
// that come back, tie the vectors to their tables.

#include <cstdint>
#include <string>
#include <vector>

#include "ops/cc/registrations/feature_shapes.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("MonolithPartition")
    .Input("ids: num_features * int64")
    .Input("splits: num_ragged * int64")
    .Output("packed: num_shards * int64")
    .Output("positions: num_features * int64")
    .Attr("num_features: int >= 1")
    .Attr("num_ragged: int >= 0")
    .Attr("num_tables: int >= 1")
    .Attr("num_shards: int >= 1")
    .Attr("feature_tables: list(int)")
    .Attr("combiners: list(string)")
    .Attr("ns: list(int)")
    .Attr("ragged: list(bool)")
    .Attr("padded: list(bool)")
    .Attr("padding_ids: list(int)")
    .Attr("distinct: bool = true")
    .SetShapeFn([](InferenceContext* c) {
      FeatureShapes features;
      TF_RETURN_IF_ERROR(FeatureShapes::Get(c, &features));
      TF_RETURN_IF_ERROR(CheckEntries<bool>(c, "padded"));
      TF_RETURN_IF_ERROR(CheckEntries<int64_t>(c, "padding_ids"));
      int64_t num_shards;
      TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
      for (int64_t s = 0; s < num_shards; ++s) {
        c->set_output(s, c->Vector(InferenceContext::kUnknownDim));
      }
      for (int64_t f = 0; f < features.num_features(); ++f) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(features.Output(
            c, f, c->input(f), features.Splits(c, f, features.num_features()),
            /*dim=*/1, &unused));
        c->set_output(num_shards + f, c->input(f));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Makes the ids of each table distinct and splits them by the shard that owns them.

Reads and changes no table. Padding, and what a first_n feature cuts off, is not
asked for.

ids: per feature its ids, of any shape with a batch dimension; of a feature with
  row splits a vector.
splits: row splits of those features that `ragged` marks, in order.
packed: per shard, the input of MonolithLookup: distinct ids in the order in
  which they first stand, features in order.
positions: per feature, in the shape of its ids, where the row of each id will
  be: shard in the upper 24 bits, index among that shard's ids of the table in
  the lower 40; -1 for ids that are not asked for.
feature_tables: which table each feature reads, 0 to num_tables - 1.
combiners: "none", "sum", "mean", "sqrtn" or "first_n" of each feature.
ns: n of first_n features, 0 of others.
padded: whether the feature has a padding id, which is in padding_ids.
distinct: whether equal ids are asked for once. Without it `packed` has all ids as
  they stand: rows are the same, and there must be no gradient.
)doc");

REGISTER_OP("MonolithCombine")
    .Input("packed: num_shards * int64")
    .Input("shard_rows: num_shards * float32")
    .Input("positions: num_features * int64")
    .Input("splits: num_ragged * int64")
    .Input("weights: num_weighted * float32")
    .Output("vectors: num_features * float32")
    .Attr("num_features: int >= 1")
    .Attr("num_ragged: int >= 0")
    .Attr("num_weighted: int >= 0")
    .Attr("num_tables: int >= 1")
    .Attr("num_shards: int >= 1")
    .Attr("feature_tables: list(int)")
    .Attr("combiners: list(string)")
    .Attr("ns: list(int)")
    .Attr("ragged: list(bool)")
    .Attr("weighted: list(bool)")
    .Attr("dims: list(int)")
    .SetShapeFn([](InferenceContext* c) {
      FeatureShapes features;
      TF_RETURN_IF_ERROR(FeatureShapes::Get(c, &features));
      int64_t num_shards;
      int64_t num_tables;
      std::vector<int64_t> dims;
      TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
      TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
      TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
      TF_RETURN_IF_ERROR(CheckDims(dims, num_tables));
      ShapeHandle unused;
      for (int64_t s = 0; s < 2 * num_shards; ++s) {
        TF_RETURN_IF_ERROR(c->WithRank(c->input(s), 1, &unused));
      }
      const int64_t positions = 2 * num_shards;
      const int64_t splits = positions + features.num_features();
      for (int64_t f = 0; f < features.num_features(); ++f) {
        TF_RETURN_IF_ERROR(features.WeightsAgree(
            c, f, positions + f, splits + features.num_ragged()));
        ShapeHandle output;
        TF_RETURN_IF_ERROR(features.Output(
            c, f, c->input(positions + f), features.Splits(c, f, splits),
            dims[features.table_of(f)], &output));
        c->set_output(f, output);
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Makes each feature's vectors of the rows that the shards answered with.

packed, positions: what MonolithPartition gave.
shard_rows: what MonolithLookup gave for `packed`.
weights: of those features that `weighted` marks, as many as ids.
vectors: combiner none: the shape of the ids and the dim of the table; sum, mean
  and sqrtn: one vector in place of the innermost dimension of the ids, or of a
  list of row splits (ids of rank 1 without splits are one list each); first_n:
  n vectors there. Lists keep their order; a list without ids gives zeros.
)doc");

REGISTER_OP("MonolithAttach")
    .Input("anchor: T")
    .Input("vectors: float32")
    .Input("ids: int64")
    .Input("positions: int64")
    .Input("splits: num_splits * int64")
    .Input("weights: num_weights * float32")
    .Output("output: float32")
    .Attr("T: {float, resource}")
    .Attr("num_splits: int >= 0")
    .Attr("num_weights: int >= 0")
    .Attr("combiner: string")
    .Attr("n: int")
    .Attr("dim: int >= 1")
    .Attr("own_terms: int >= 0 = 0")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle vectors;
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(1), 2, &vectors));
      TF_RETURN_IF_ERROR(IdsAndPositions(c, 2, 3));
      int64_t row_length;
      TF_RETURN_IF_ERROR(c->GetAttr("dim", &row_length));
      tensorflow::shape_inference::DimensionHandle last;
      TF_RETURN_IF_ERROR(c->WithValue(c->Dim(vectors, -1), row_length, &last));
      TF_RETURN_IF_ERROR(c->ReplaceDim(vectors, -1, last, &vectors));
      tensorflow::DataType type;
      TF_RETURN_IF_ERROR(c->GetAttr("T", &type));
      if (type == tensorflow::DT_FLOAT) {
        ShapeHandle anchor;
        TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &anchor));
        tensorflow::shape_inference::DimensionHandle dim;
        TF_RETURN_IF_ERROR(
            c->Merge(c->Dim(vectors, -1), c->Dim(anchor, 1), &dim));
        TF_RETURN_IF_ERROR(c->ReplaceDim(vectors, -1, dim, &vectors));
      }
      TF_RETURN_IF_ERROR(OneFeature(c, 2, 4, vectors, &vectors));
      c->set_output(0, vectors);
      return absl::OkStatus();
    })
    .Doc(R"doc(
Passes a feature's vectors on and ties them to a table's zero-row variable.

The gradient for `anchor` is the tf.IndexedSlices that MonolithSlices gives: that
is how the gradient of a lookup is a value. Nothing but `vectors` is read, so the
op is taken out of a graph before it runs (detach_pass.cc).

anchor: the variable's value `[0, dim]`, or its handle.
ids, positions, splits, weights: of the feature, as MonolithPartition and
  MonolithCombine have them.
dim: row length of the table, which the shape of `vectors` may not tell.
own_terms: of the feature, 0 for none (packed_count.h). Handed to MonolithSlices.
)doc");

REGISTER_OP("MonolithWeights")
    .Input("weights: float32")
    .Input("places: T")
    .Input("expected: T")
    .Output("output: float32")
    .Attr("T: {int64}")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &unused));
      TF_RETURN_IF_ERROR(c->Merge(c->input(1), c->input(2), &unused));
      c->set_output(0, c->input(0));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Passes weights on if they stand where ids stand, else fails.

places: row splits of ragged weights, or indices of sparse ones.
expected: those of the ids.
)doc");

REGISTER_OP("MonolithSparseSplits")
    .Input("indices: num_features * int64")
    .Input("dense_shapes: num_features * int64")
    .Output("splits: num_features * int64")
    .Attr("num_features: int >= 1")
    .SetShapeFn([](InferenceContext* c) {
      int64_t num_features;
      TF_RETURN_IF_ERROR(c->GetAttr("num_features", &num_features));
      for (int64_t f = 0; f < num_features; ++f) {
        const int64_t dense_shape = num_features + f;
        ShapeHandle shape;
        TF_RETURN_IF_ERROR(c->Merge(
            c->input(f), c->Matrix(InferenceContext::kUnknownDim, 2), &shape));
        TF_RETURN_IF_ERROR(
            c->Merge(c->input(dense_shape), c->Vector(2), &shape));
        TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(dense_shape, &shape));
        tensorflow::shape_inference::DimensionHandle size;
        TF_RETURN_IF_ERROR(c->Add(c->Dim(shape, 0), 1, &size));
        c->set_output(f, c->Vector(size));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Turns the indices of sparse ids `[batch, length]` into row splits `[batch + 1]`.

Fails when indices are not in the order of their rows.
)doc");

}  // namespace
}  // namespace monolith_tf
