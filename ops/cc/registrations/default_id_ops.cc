// Signature of the op that puts default ids where examples have no id.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/registrations/feature_shapes.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

// The shape of filled ids for ids of shape `ids`; `splits` is null for dense
// ones.
absl::Status FilledShape(InferenceContext* c, ShapeHandle ids, bool is_single,
                         const ShapeHandle* splits, ShapeHandle* out) {
  ShapeHandle unused;
  TF_RETURN_IF_ERROR(c->WithRankAtLeast(ids, 1, &ids));
  *out = ids;
  if (splits != nullptr) {
    TF_RETURN_IF_ERROR(c->WithRank(ids, 1, &ids));
    TF_RETURN_IF_ERROR(c->WithRank(*splits, 1, &unused));
    if (!is_single) *out = c->Vector(InferenceContext::kUnknownDim);
    return absl::OkStatus();
  }
  if (is_single || !c->RankKnown(ids) || c->Rank(ids) == 1) {
    return absl::OkStatus();
  }
  const DimensionHandle length = c->Dim(ids, -1);
  if (c->ValueKnown(length) && c->Value(length) > 0) return absl::OkStatus();
  // Lists get a length of at least 1.
  return c->ReplaceDim(
      ids, -1, c->ValueKnown(length) ? c->MakeDim(1) : c->UnknownDim(), out);
}

REGISTER_OP("MonolithFillMissing")
    .Input("ids: num_features * int64")
    .Input("splits: num_ragged * int64")
    .Input("weights: num_weighted * float32")
    .Output("filled_ids: num_features * int64")
    .Output("filled_splits: num_ragged * int64")
    .Output("filled_weights: num_weighted * float32")
    .Attr("num_features: int >= 1")
    .Attr("num_ragged: int >= 0")
    .Attr("num_weighted: int >= 0")
    .Attr("single: list(bool)")
    .Attr("ragged: list(bool)")
    .Attr("weighted: list(bool)")
    .Attr("padded: list(bool)")
    .Attr("padding_ids: list(int)")
    .Attr("default_ids: list(int)")
    .SetShapeFn([](InferenceContext* c) {
      std::vector<bool> single;
      std::vector<bool> ragged;
      std::vector<bool> weighted;
      TF_RETURN_IF_ERROR(CheckEntries(c, "single", &single));
      TF_RETURN_IF_ERROR(CheckEntries(c, "ragged", &ragged));
      TF_RETURN_IF_ERROR(CheckEntries(c, "weighted", &weighted));
      TF_RETURN_IF_ERROR(CheckEntries<bool>(c, "padded"));
      TF_RETURN_IF_ERROR(CheckEntries<int64_t>(c, "padding_ids"));
      TF_RETURN_IF_ERROR(CheckEntries<int64_t>(c, "default_ids"));
      Shapes ids;
      Shapes splits;
      Shapes weights;
      TF_RETURN_IF_ERROR(c->input("ids", &ids));
      TF_RETURN_IF_ERROR(c->input("splits", &splits));
      TF_RETURN_IF_ERROR(c->input("weights", &weights));
      TF_RETURN_IF_ERROR(
          CheckMarked("splits", "ragged", ragged, splits.size()));
      TF_RETURN_IF_ERROR(
          CheckMarked("weights", "weighted", weighted, weights.size()));
      Shapes filled_ids;
      Shapes filled_weights;
      size_t next_splits = 0;
      for (size_t f = 0; f < ids.size(); ++f) {
        ShapeHandle filled;
        TF_RETURN_IF_ERROR(
            FilledShape(c, ids[f], single[f],
                        ragged[f] ? &splits[next_splits++] : nullptr, &filled));
        filled_ids.push_back(filled);
        if (!weighted[f]) continue;
        ShapeHandle unused;
        TF_RETURN_IF_ERROR(
            c->Merge(ids[f], weights[filled_weights.size()], &unused));
        filled_weights.push_back(filled);
      }
      TF_RETURN_IF_ERROR(c->set_output("filled_ids", filled_ids));
      TF_RETURN_IF_ERROR(c->set_output("filled_splits", splits));
      return c->set_output("filled_weights", filled_weights);
    })
    .Doc(R"doc(
Puts a default id into each list that has no id.

Reads and changes no table. In a list of padding alone the default id replaces
the first element. A list of row splits without elements gets one element, and
dense lists of length 0 get length 1. A default id has weight 1. All other ids
keep their order.

ids: as of `MonolithPartition` and `MonolithCombine`, of the
  features that have a default id.
splits: as of `MonolithPartition` and `MonolithCombine`, of the
  features that have a default id.
weights: as of `MonolithPartition` and `MonolithCombine`, of the
  features that have a default id.
filled_ids: the same with default ids.
filled_splits: the same with default ids.
filled_weights: the same with default ids.
single: per feature, true if each id is a list: the combiner is "none".
ragged: per feature, true if it has row splits.
weighted: per feature, true if it has weights.
padded: per feature, true if it has a padding id.
padding_ids: per feature its padding id.
default_ids: per feature its default id.
)doc");

}  // namespace
}  // namespace monolith_tf
