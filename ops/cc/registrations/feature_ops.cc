// Signatures of the ops that turn the ids of all features of a worker's batch
// into vectors: make ids distinct and split them by shard, combine the rows
// that the shards return, tie the vectors to their tables.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/registrations/feature_shapes.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
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
      TF_RETURN_IF_ERROR(FeatureShapes::Get(c, "ids", &features));
      TF_RETURN_IF_ERROR(CheckEntries<bool>(c, "padded"));
      TF_RETURN_IF_ERROR(CheckEntries<int64_t>(c, "padding_ids"));
      SetVectors(c);
      Shapes positions;
      for (int64_t f = 0; f < features.num_features(); ++f) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(features.Output(c, f, /*dim=*/1, &unused));
        positions.push_back(features.ids(f));
      }
      return c->set_output("positions", positions);
    })
    .Doc(R"doc(
Makes the ids of each table distinct and splits them by shard.

Reads and changes no table. Skips padding and the ids that first_n cuts off.
Distinct ids keep the order of their first occurrence, feature by feature.

ids: per feature its ids, of any shape with a batch dimension; a vector for a
  feature with row splits.
splits: row splits of the features that `ragged` marks, in order.
packed: per shard, the input of `MonolithLookup`.
positions: per feature, in the shape of its ids, the place of the row of each id:
  the shard in the upper 24 bits, the index among that shard's ids of the table in
  the lower 40; -1 for an id that is skipped.
num_tables: the number of tables that the features read.
feature_tables: per feature the table that it reads, 0 to num_tables - 1.
combiners: per feature "none", "sum", "mean", "sqrtn" or "first_n".
ns: per feature the n of first_n, 0 for the other combiners.
ragged: per feature, true if it has row splits.
padded: per feature, true if it has a padding id.
padding_ids: per feature its padding id.
distinct: false keeps duplicate ids: rows are the same, and there must be no
  gradient.
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
      TF_RETURN_IF_ERROR(FeatureShapes::Get(c, "positions", &features));
      int64_t num_tables;
      std::vector<int64_t> dims;
      TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
      TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
      TF_RETURN_IF_ERROR(CheckDims(dims, num_tables));
      TF_RETURN_IF_ERROR(InputsOfRank(c, "packed", 1));
      TF_RETURN_IF_ERROR(InputsOfRank(c, "shard_rows", 1));
      TF_RETURN_IF_ERROR(features.WeightsAgree(c));
      Shapes vectors(features.num_features());
      for (int64_t f = 0; f < features.num_features(); ++f) {
        TF_RETURN_IF_ERROR(
            features.Output(c, f, dims[features.table_of(f)], &vectors[f]));
      }
      return c->set_output("vectors", vectors);
    })
    .Doc(R"doc(
Makes the vectors of each feature from the rows that the shards returned.

Reads and changes no table. Vectors keep the order of the lists. A list without
ids gives zeros.

packed: the outputs of `MonolithPartition`.
positions: the outputs of `MonolithPartition`.
shard_rows: per shard the output of `MonolithLookup` for `packed`.
splits: row splits of the features that `ragged` marks, in order.
weights: of the features that `weighted` marks, one per id.
vectors: per feature, with combiner "none" the shape of the ids and the dim of the
  table. With "sum", "mean" and "sqrtn" one vector per list: the innermost
  dimension of the ids, or a list of row splits (dense ids of rank 1 are one list
  each). With "first_n" n vectors per list.
num_tables: as of `MonolithPartition`.
feature_tables: as of `MonolithPartition`.
combiners: as of `MonolithPartition`.
ns: as of `MonolithPartition`.
ragged: as of `MonolithPartition`.
weighted: per feature, true if it has weights.
dims: per table its row length.
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
    .Attr("overrides: int >= 0 = 0")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle vectors;
      TF_RETURN_IF_ERROR(InputShape(c, "vectors", &vectors));
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(vectors, 2, &vectors));
      int64_t row_length;
      TF_RETURN_IF_ERROR(c->GetAttr("dim", &row_length));
      DimensionHandle last;
      TF_RETURN_IF_ERROR(c->WithValue(c->Dim(vectors, -1), row_length, &last));
      TF_RETURN_IF_ERROR(c->ReplaceDim(vectors, -1, last, &vectors));
      tensorflow::DataType type;
      TF_RETURN_IF_ERROR(c->GetAttr("T", &type));
      if (type == tensorflow::DT_FLOAT) {
        ShapeHandle anchor;
        TF_RETURN_IF_ERROR(InputOfRank(c, "anchor", 2, &anchor));
        DimensionHandle dim;
        TF_RETURN_IF_ERROR(
            c->Merge(c->Dim(vectors, -1), c->Dim(anchor, 1), &dim));
        TF_RETURN_IF_ERROR(c->ReplaceDim(vectors, -1, dim, &vectors));
      }
      TF_RETURN_IF_ERROR(OneFeature(c, vectors, &vectors));
      return SetOutput(c, "output", vectors);
    })
    .Doc(R"doc(
Passes the vectors of a feature on and ties them to a zero-row variable.

Reads nothing but the vectors, and changes nothing. Their gradient for the
variable is the tf.IndexedSlices that `MonolithSlices` returns, so the gradient
of a lookup is a value. TensorFlow removes the op from a graph before it runs.

anchor: the value of the table's variable, `[0, dim]`, or its handle.
vectors: the output of `MonolithCombine` for the feature.
ids: of the feature, as of `MonolithPartition` and
  `MonolithCombine`.
positions: of the feature, as of `MonolithPartition` and
  `MonolithCombine`.
splits: of the feature, as of `MonolithPartition` and
  `MonolithCombine`.
weights: of the feature, as of `MonolithPartition` and
  `MonolithCombine`.
output: the vectors.
combiner: of the feature.
n: of the feature.
dim: row length of the table.
overrides: the overrides of the feature, 0 for none (packed_count.h), for
  `MonolithSlices`.
)doc");

REGISTER_OP("MonolithCheckedWeights")
    .Input("weights: float32")
    .Input("places: T")
    .Input("expected: T")
    .Output("output: float32")
    .Attr("T: {int64}")
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle weights;
      ShapeHandle places;
      ShapeHandle expected;
      TF_RETURN_IF_ERROR(InputOfRank(c, "weights", 1, &weights));
      TF_RETURN_IF_ERROR(InputShape(c, "places", &places));
      TF_RETURN_IF_ERROR(InputShape(c, "expected", &expected));
      TF_RETURN_IF_ERROR(c->Merge(places, expected, &places));
      return SetOutput(c, "output", weights);
    })
    .Doc(R"doc(
Passes weights on if they have the places of the ids.

Reads and changes no table. Fails with InvalidArgument if the places differ.

weights: `[m]`.
places: row splits of ragged weights, or indices of sparse ones.
expected: the places of the ids.
output: the weights.
)doc");

REGISTER_OP("MonolithSparseSplits")
    .Input("indices: num_features * int64")
    .Input("dense_shapes: num_features * int64")
    .Output("splits: num_features * int64")
    .Attr("num_features: int >= 1")
    .SetShapeFn([](InferenceContext* c) {
      Shapes indices;
      Shapes dense_shapes;
      TF_RETURN_IF_ERROR(c->input("indices", &indices));
      TF_RETURN_IF_ERROR(c->input("dense_shapes", &dense_shapes));
      Shapes splits;
      for (size_t f = 0; f < indices.size(); ++f) {
        ShapeHandle shape;
        TF_RETURN_IF_ERROR(c->Merge(
            indices[f], c->Matrix(InferenceContext::kUnknownDim, 2), &shape));
        TF_RETURN_IF_ERROR(c->Merge(dense_shapes[f], c->Vector(2), &shape));
        // Inputs that are lists have no value by name.
        TF_RETURN_IF_ERROR(
            c->MakeShapeFromShapeTensor(indices.size() + f, &shape));
        DimensionHandle size;
        TF_RETURN_IF_ERROR(c->Add(c->Dim(shape, 0), 1, &size));
        splits.push_back(c->Vector(size));
      }
      return c->set_output("splits", splits);
    })
    .Doc(R"doc(
Makes row splits from the indices of sparse ids.

Reads and changes no table. Fails with InvalidArgument if the ids are not in the
order of their rows.

indices: per feature `[m, 2]`, of ids `[batch, length]`.
dense_shapes: per feature `[2]`.
splits: per feature `[batch + 1]`.
)doc");

}  // namespace
}  // namespace monolith_tf
