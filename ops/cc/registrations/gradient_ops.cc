// Signatures of the ops that turn gradients of vectors into gradients of rows:
// slices of one feature, sums by id, split by shard.

#include <algorithm>
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

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

// Inputs that each shard gets in front of ids and gradients. All outputs are
// vectors.
absl::Status StepShapes(InferenceContext* c) {
  TF_RETURN_IF_ERROR(InputOfRank(c, "global_step", 0));
  ShapeHandle event_time;
  TF_RETURN_IF_ERROR(InputShape(c, "event_time", &event_time));
  // [3] with a request: client and sequence.
  if (c->RankKnown(event_time) && c->Rank(event_time) != 0) {
    TF_RETURN_IF_ERROR(c->WithRank(event_time, 1, &event_time));
    DimensionHandle unused;
    TF_RETURN_IF_ERROR(c->WithValue(c->Dim(event_time, 0), 3, &unused));
  }
  TF_RETURN_IF_ERROR(InputOfRank(c, "learning_rates", 1));
  SetVectors(c);
  return absl::OkStatus();
}

// `override_tables` are different numbers of tables, one per input of
// `overrides`.
absl::Status CheckOverrideTables(int64_t num_tables, int64_t num_overrides,
                                 const std::vector<int64_t>& tables) {
  if (static_cast<int64_t>(tables.size()) != num_overrides) {
    return absl::InvalidArgumentError(absl::StrCat(
        "override_tables must have one entry per tensor of overrides, ",
        num_overrides, ". Received: ", tables.size(), "."));
  }
  int64_t least = 0;
  for (const int64_t table : tables) {
    if (table < least || table >= num_tables) {
      return absl::InvalidArgumentError(
          absl::StrCat("override_tables must be from 0 to ", num_tables - 1,
                       ", in rising order. Received: ", table, "."));
    }
    least = table + 1;
  }
  return absl::OkStatus();
}

// The last dimension is at least `columns`, or unknown.
absl::Status HasColumns(InferenceContext* c, ShapeHandle shape,
                        int64_t columns) {
  if (!c->RankKnown(shape) || !c->ValueKnown(c->Dim(shape, -1)) ||
      c->Value(c->Dim(shape, -1)) >= columns) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a gradient must have at least ", columns,
                   " columns for its features. Received: shape ",
                   c->DebugString(shape), "."));
}

// `gradient` is of the vectors of feature `f`, whose table has `dim`; or has
// them as columns from `first` on.
absl::Status GradientAgrees(InferenceContext* c, const FeatureShapes& features,
                            int64_t f, int64_t dim, ShapeHandle gradient,
                            int64_t first) {
  ShapeHandle expected;
  TF_RETURN_IF_ERROR(features.Output(c, f, dim, &expected));
  if (first >= 0) {
    TF_RETURN_IF_ERROR(c->WithRankAtLeast(gradient, 1, &gradient));
    TF_RETURN_IF_ERROR(HasColumns(c, gradient, first + dim));
    if (!c->RankKnown(gradient)) return absl::OkStatus();
    TF_RETURN_IF_ERROR(c->ReplaceDim(gradient, -1, c->MakeDim(dim), &gradient));
  }
  return c->Merge(gradient, expected, &expected);
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
    .Attr("overrides: int >= 0 = 0")
    .SetShapeFn([](InferenceContext* c) {
      int64_t dim;
      TF_RETURN_IF_ERROR(c->GetAttr("dim", &dim));
      ShapeHandle gradient;
      TF_RETURN_IF_ERROR(InputShape(c, "gradient", &gradient));
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(gradient, 2, &gradient));
      DimensionHandle last;
      TF_RETURN_IF_ERROR(c->WithValue(c->Dim(gradient, -1), dim, &last));
      TF_RETURN_IF_ERROR(c->ReplaceDim(gradient, -1, last, &gradient));
      TF_RETURN_IF_ERROR(OneFeature(c, gradient, &gradient));
      // Only the values of the inputs tell how many ids are padding.
      const DimensionHandle num_slices = c->UnknownDim();
      TF_RETURN_IF_ERROR(SetOutput(c, "values", c->Matrix(num_slices, dim)));
      return SetOutput(c, "indices", c->Vector(num_slices));
    })
    .Doc(R"doc(
Turns the gradient of a feature's vectors into gradients of rows.

Reads and changes no table. Slices keep the order of the ids, and a duplicate id
has one slice per occurrence. Leaves out padding and the ids that first_n cut
off.

gradient: in the shape of the vectors.
ids: of the feature, as of `MonolithAttach`.
positions: of the feature, as of `MonolithAttach`.
splits: of the feature, as of `MonolithAttach`.
weights: of the feature, as of `MonolithAttach`.
values: `[m, dim]`, gradients of rows.
indices: `[m]`, their ids.
combiner: of the feature.
n: of the feature.
dim: row length of the table.
overrides: the overrides of the feature, 0 for none (packed_count.h). They change
  nothing here: whoever sums slices reads them.
)doc");

REGISTER_OP("MonolithPartitionGradients")
    .Input("global_step: int64")
    .Input("event_time: int64")
    .Input("learning_rates: float32")
    .Input("ids: num_tables * int64")
    .Input("gradients: num_tables * float32")
    .Input("overrides: num_overrides * int64")
    .Output("packed: num_shards * int64")
    .Output("values: num_shards * float32")
    .Attr("num_tables: int >= 1")
    .Attr("num_shards: int >= 1")
    .Attr("num_overrides: int >= 0 = 0")
    .Attr("override_tables: list(int) = []")
    .SetShapeFn([](InferenceContext* c) {
      int64_t num_tables;
      int64_t num_shards;
      TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
      TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
      TF_RETURN_IF_ERROR(CheckNumShards(num_shards));
      TF_RETURN_IF_ERROR(CheckNumTables(num_tables, num_shards));
      Shapes ids;
      Shapes gradients;
      TF_RETURN_IF_ERROR(c->input("ids", &ids));
      TF_RETURN_IF_ERROR(c->input("gradients", &gradients));
      for (int64_t t = 0; t < num_tables; ++t) {
        TF_RETURN_IF_ERROR(IdsAgreeWithRows(c, ids[t], gradients[t]));
      }
      Shapes overrides;
      std::vector<int64_t> tables;
      TF_RETURN_IF_ERROR(c->input("overrides", &overrides));
      TF_RETURN_IF_ERROR(c->GetAttr("override_tables", &tables));
      TF_RETURN_IF_ERROR(
          CheckOverrideTables(num_tables, overrides.size(), tables));
      for (size_t i = 0; i < tables.size(); ++i) {
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(c->Merge(ids[tables[i]], overrides[i], &unused));
      }
      return StepShapes(c);
    })
    .Doc(R"doc(
Sums the gradients of equal ids, counts the ids and splits them by shard.

Reads and changes no table. Sums are float32, in the order of the ids. Distinct
ids keep the order of their first occurrence. If an id has several overrides,
the lowest threshold (the smallest min_count or the largest probability, a
min_count before a probability) and the longest time to live hold.

global_step: scalar, 1 for the first step.
event_time: scalar, seconds since the epoch; or `[3]` with the client and the
  sequence of a request, -1 for none.
learning_rates: `[r]`, the learning rates that `MonolithApply` takes.
ids: per table `[n]`.
gradients: per table `[n, dim]`.
overrides: per table of `override_tables` `[n]`, the overrides of each slice
  (packed_count.h), 0 for none.
packed: per shard, the inputs of `MonolithApply`.
values: per shard, the inputs of `MonolithApply`.
override_tables: numbers of the tables with overrides, in rising order.
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
    .Attr("overrides: list(int) = []")
    .SetShapeFn([](InferenceContext* c) {
      FeatureShapes features;
      TF_RETURN_IF_ERROR(FeatureShapes::Get(c, "positions", &features));
      std::vector<int64_t> tables;
      std::vector<int64_t> dims;
      TF_RETURN_IF_ERROR(c->GetAttr("tables", &tables));
      TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
      TF_RETURN_IF_ERROR(CheckDims(dims, tables.size()));
      std::vector<int64_t> overrides;
      TF_RETURN_IF_ERROR(c->GetAttr("overrides", &overrides));
      if (!overrides.empty()) {
        TF_RETURN_IF_ERROR(CheckEntries<int64_t>(c, "overrides"));
      }
      TF_RETURN_IF_ERROR(InputsOfRank(c, "packed_ids", 1));
      TF_RETURN_IF_ERROR(features.WeightsAgree(c));
      Shapes gradients;
      std::vector<int64_t> gradient_of;
      std::vector<int64_t> first_columns;
      TF_RETURN_IF_ERROR(c->input("gradients", &gradients));
      TF_RETURN_IF_ERROR(CheckEntries(c, "gradient_of", &gradient_of));
      TF_RETURN_IF_ERROR(CheckEntries(c, "first_columns", &first_columns));
      const auto num_gradients = static_cast<int64_t>(gradients.size());
      for (int64_t f = 0; f < features.num_features(); ++f) {
        const auto table =
            std::find(tables.begin(), tables.end(), features.table_of(f));
        if (table == tables.end()) {
          return absl::InvalidArgumentError(absl::StrCat(
              "tables must have the table of each feature. Received: feature "
              "number ",
              f, " of table ", features.table_of(f), "."));
        }
        if (gradient_of[f] < 0 || gradient_of[f] >= num_gradients) {
          return absl::InvalidArgumentError(absl::StrCat(
              "gradient_of must be from 0 to ", num_gradients - 1,
              ". Received: ", gradient_of[f], " for feature number ", f, "."));
        }
        TF_RETURN_IF_ERROR(CheckFirstColumn(first_columns[f]));
        TF_RETURN_IF_ERROR(
            GradientAgrees(c, features, f, dims[table - tables.begin()],
                           gradients[gradient_of[f]], first_columns[f]));
      }
      return StepShapes(c);
    })
    .Doc(R"doc(
Sums the gradients of vectors by id, in one pass over a lookup's ids.

Does the work of `MonolithSlices` and `MonolithPartitionGradients`. Reads and
changes no table. An id is passed on if it occurs in one of the features, with
its number of occurrences there. Sums are float32, in the order of the features.
If an id has several overrides, the lowest threshold (the smallest min_count or
the largest probability, a min_count before a probability) and the longest time
to live hold.

global_step: scalar, 1 for the first step.
event_time: scalar, seconds since the epoch; or `[3]` with the client and the
  sequence of a request, -1 for none.
learning_rates: `[r]`, the learning rates that `MonolithApply` takes.
packed_ids: per shard the output of `MonolithPartition`, with all its num_tables
  tables.
gradients: of the vectors of `MonolithCombine`, or wider ones that have them as
  columns: `[..., m]`, m at least the dim of the table.
positions: of the features, as of `MonolithCombine`.
splits: of the features, as of `MonolithCombine`.
weights: of the features, as of `MonolithCombine`.
packed: per shard, the inputs of `MonolithApply` for `tables`.
values: per shard, the inputs of `MonolithApply` for `tables`.
num_tables: as of `MonolithCombine`.
feature_tables: as of `MonolithCombine`.
combiners: as of `MonolithCombine`.
ns: as of `MonolithCombine`.
ragged: as of `MonolithCombine`.
weighted: as of `MonolithCombine`.
gradient_of: per feature the index of its gradient in `gradients`.
first_columns: per feature its first column in that gradient; -1 if the gradient
  has no other columns.
tables: numbers of the tables that the features read, each once.
dims: their row lengths.
overrides: per feature its overrides (packed_count.h), 0 for none; empty if no
  feature has any.
)doc");

}  // namespace
}  // namespace monolith_tf
