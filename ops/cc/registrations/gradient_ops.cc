// Signatures of the ops that turn gradients of vectors into gradients of rows:
// slices of one feature, sums by id, split by shard.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/registrations/feature_shapes.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

// Inputs 0 to 2 are what comes in front of ids and gradients; all outputs are
// vectors.
absl::Status StepShapes(InferenceContext* c) {
  ShapeHandle unused;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 0, &unused));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &unused));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 1, &unused));
  for (int output = 0; output < c->num_outputs(); ++output) {
    c->set_output(output, c->Vector(InferenceContext::kUnknownDim));
  }
  return absl::OkStatus();
}

// `counted_tables` are different numbers of tables, one an input of own_terms.
absl::Status CheckCounted(int64_t num_tables, int64_t num_counted,
                          const std::vector<int64_t>& counted) {
  if (static_cast<int64_t>(counted.size()) != num_counted) {
    return absl::InvalidArgumentError(
        absl::StrCat("`counted_tables` needs one entry for each of "
                     "`own_terms`; got ",
                     counted.size(), " for ", num_counted, "."));
  }
  int64_t least = 0;
  for (const int64_t table : counted) {
    if (table < least || table >= num_tables) {
      return absl::InvalidArgumentError(
          absl::StrCat("`counted_tables` must be from 0 to ", num_tables - 1,
                       ", in rising order; got ", table, "."));
    }
    least = table + 1;
  }
  return absl::OkStatus();
}

// The last dimension, where it is known, is at least `columns`.
absl::Status HasColumns(InferenceContext* c, ShapeHandle shape,
                        int64_t columns) {
  if (!c->RankKnown(shape) || !c->ValueKnown(c->Dim(shape, -1)) ||
      c->Value(c->Dim(shape, -1)) >= columns) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "a gradient needs ", columns, " columns for its features; got ",
      c->DebugString(shape), "."));
}

REGISTER_OP("MonolithSlices")
    .Input("gradient: float32")
    .Input("ids: int64")
    .Input("positions: int64")
    .Input("splits: num_splits * int64")
    .Input("weights: num_weights * float32")
    .Output("values: float32")
    .Output("indices: int64")
    .Attr("num_splits: int >= 0")
    .Attr("num_weights: int >= 0")
    .Attr("combiner: string")
    .Attr("n: int")
    .Attr("dim: int >= 1")
    .Attr("own_terms: int >= 0 = 0")
    .SetShapeFn([](InferenceContext* c) {
      int64_t dim;
      TF_RETURN_IF_ERROR(c->GetAttr("dim", &dim));
      ShapeHandle gradient;
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(0), 2, &gradient));
      tensorflow::shape_inference::DimensionHandle last;
      TF_RETURN_IF_ERROR(c->WithValue(c->Dim(gradient, -1), dim, &last));
      TF_RETURN_IF_ERROR(c->ReplaceDim(gradient, -1, last, &gradient));
      TF_RETURN_IF_ERROR(IdsAndPositions(c, 1, 2));
      TF_RETURN_IF_ERROR(OneFeature(c, 1, 3, gradient, &gradient));
      // How many are padding is in the data.
      c->set_output(0, c->Matrix(InferenceContext::kUnknownDim, dim));
      c->set_output(1, c->Vector(InferenceContext::kUnknownDim));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Turns the gradient of a feature's vectors into slices, one for each id that was
asked for, in the order of the ids: the gradient of MonolithAttach.

values: `[m, dim]`, gradients of rows.
indices: `[m]`, their ids; duplicates repeated.
own_terms: changes nothing here. It tells whoever puts slices together on which
  terms ids of this feature get a row and keep it (packed_count.h), 0 for what the
  table says.
)doc");

REGISTER_OP("MonolithPartitionGradients")
    .Input("global_step: int64")
    .Input("event_time: int64")
    .Input("learning_rates: float32")
    .Input("ids: num_tables * int64")
    .Input("gradients: num_tables * float32")
    .Input("own_terms: num_counted * int64")
    .Output("packed: num_shards * int64")
    .Output("values: num_shards * float32")
    .Attr("num_tables: int >= 1")
    .Attr("num_shards: int >= 1")
    .Attr("num_counted: int >= 0 = 0")
    .Attr("counted_tables: list(int) = []")
    .SetShapeFn([](InferenceContext* c) {
      int64_t num_tables;
      int64_t num_shards;
      TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
      TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
      TF_RETURN_IF_ERROR(CheckNumShards(num_shards));
      TF_RETURN_IF_ERROR(CheckNumTables(num_tables, num_shards));
      for (int64_t t = 0; t < num_tables; ++t) {
        TF_RETURN_IF_ERROR(IdsAgreeWithRows(c, 3 + t, 3 + num_tables + t));
      }
      int64_t num_counted;
      std::vector<int64_t> counted;
      TF_RETURN_IF_ERROR(c->GetAttr("num_counted", &num_counted));
      TF_RETURN_IF_ERROR(c->GetAttr("counted_tables", &counted));
      TF_RETURN_IF_ERROR(CheckCounted(num_tables, num_counted, counted));
      for (int64_t i = 0; i < num_counted; ++i) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(c->Merge(c->input(3 + counted[i]),
                                    c->input(3 + 2 * num_tables + i), &unused));
      }
      return StepShapes(c);
    })
    .Doc(R"doc(
Sums the gradients of equal ids, counts them and splits them by shard.

The sum runs in the order of the input, in float32. The outputs are, per shard,
the inputs of MonolithApply.

learning_rates: copied in front of the gradients as they are.
own_terms: of those tables that `counted_tables` numbers, one number a slice, what
  it brings for its id (packed_count.h), 0 for nothing. Of an id that comes with
  several the easiest bar and the longest ttl hold.
)doc");

REGISTER_OP("MonolithCombineGradients")
    .Input("global_step: int64")
    .Input("event_time: int64")
    .Input("learning_rates: float32")
    .Input("packed_ids: num_shards * int64")
    .Input("gradients: num_gradients * float32")
    .Input("positions: num_features * int64")
    .Input("splits: num_ragged * int64")
    .Input("weights: num_weighted * float32")
    .Output("packed: num_shards * int64")
    .Output("values: num_shards * float32")
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
    .Attr("num_gradients: int >= 1")
    .Attr("gradient_of: list(int)")
    .Attr("first_columns: list(int)")
    .Attr("tables: list(int) >= 1")
    .Attr("dims: list(int) >= 1")
    .Attr("own_terms: list(int) = []")
    .SetShapeFn([](InferenceContext* c) {
      FeatureShapes features;
      TF_RETURN_IF_ERROR(FeatureShapes::Get(c, &features));
      int64_t num_shards;
      std::vector<int64_t> tables;
      std::vector<int64_t> dims;
      TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
      TF_RETURN_IF_ERROR(c->GetAttr("tables", &tables));
      TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
      std::vector<int64_t> own_terms;
      TF_RETURN_IF_ERROR(c->GetAttr("own_terms", &own_terms));
      if (!own_terms.empty()) {
        TF_RETURN_IF_ERROR(CheckEntries<int64_t>(c, "own_terms"));
      }
      TF_RETURN_IF_ERROR(CheckDims(dims, tables.size()));
      ShapeHandle unused;
      for (int64_t s = 0; s < num_shards; ++s) {
        TF_RETURN_IF_ERROR(c->WithRank(c->input(3 + s), 1, &unused));
      }
      const int64_t gradients = 3 + num_shards;
      int64_t num_gradients;
      std::vector<int64_t> gradient_of;
      std::vector<int64_t> first_columns;
      TF_RETURN_IF_ERROR(c->GetAttr("num_gradients", &num_gradients));
      TF_RETURN_IF_ERROR(CheckEntries(c, "gradient_of", &gradient_of));
      TF_RETURN_IF_ERROR(CheckEntries(c, "first_columns", &first_columns));
      const int64_t positions = gradients + num_gradients;
      const int64_t splits = positions + features.num_features();
      for (int64_t f = 0; f < features.num_features(); ++f) {
        int64_t dim = -1;
        for (size_t i = 0; i < tables.size(); ++i) {
          if (tables[i] == features.table_of(f)) dim = dims[i];
        }
        if (dim < 0) {
          return absl::InvalidArgumentError(absl::StrCat(
              "table ", features.table_of(f), " of feature number ", f,
              " is not among `tables`."));
        }
        TF_RETURN_IF_ERROR(features.WeightsAgree(
            c, f, positions + f, splits + features.num_ragged()));
        ShapeHandle expected;
        TF_RETURN_IF_ERROR(features.Output(c, f, c->input(positions + f),
                                           features.Splits(c, f, splits), dim,
                                           &expected));
        if (gradient_of[f] < 0 || gradient_of[f] >= num_gradients) {
          return absl::InvalidArgumentError(absl::StrCat(
              "`gradient_of` must be from 0 to ", num_gradients - 1, "; got ",
              gradient_of[f], " for feature ", f, "."));
        }
        ShapeHandle gradient = c->input(gradients + gradient_of[f]);
        TF_RETURN_IF_ERROR(CheckFirstColumn(first_columns[f]));
        if (first_columns[f] >= 0) {
          TF_RETURN_IF_ERROR(c->WithRankAtLeast(gradient, 1, &gradient));
          TF_RETURN_IF_ERROR(HasColumns(c, gradient, first_columns[f] + dim));
          if (!c->RankKnown(gradient)) continue;
          TF_RETURN_IF_ERROR(
              c->ReplaceDim(gradient, -1, c->MakeDim(dim), &gradient));
        }
        TF_RETURN_IF_ERROR(c->Merge(gradient, expected, &unused));
      }
      return StepShapes(c);
    })
    .Doc(R"doc(
MonolithSlices of some features and MonolithPartitionGradients, in one pass.

An id is passed on when it stands in one of the features given, with the number
of times it stands there. Sums run in the order of the features. The outputs are,
per shard, the inputs of MonolithApply for `tables`.

packed_ids: what MonolithPartition gave, for all its num_tables tables.
gradients: of the vectors that MonolithCombine gave, or of what they are columns
  of: `[..., m]`, m at least the dim of the table.
gradient_of: which of `gradients` each feature has.
first_columns: the first column of the feature in it; -1: it has no other.
positions, splits, weights: as MonolithCombine takes them.
tables: numbers of the tables that get a step; dims are theirs.
learning_rates: copied in front of the gradients as they are.
own_terms: per feature what it brings for its ids, as of
  MonolithPartitionGradients; or nothing, if no feature brings any.
)doc");

}  // namespace
}  // namespace monolith_tf
