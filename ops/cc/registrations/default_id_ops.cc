// Signature of the op that puts default ids where examples have none.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/registrations/feature_shapes.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

// The shape of filled ids, where `ids` is that of the ids.
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
  // At least 1, whatever it was.
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
      int64_t num_ragged;
      int64_t num_weighted;
      TF_RETURN_IF_ERROR(c->GetAttr("num_ragged", &num_ragged));
      TF_RETURN_IF_ERROR(c->GetAttr("num_weighted", &num_weighted));
      const auto num_features = static_cast<int64_t>(single.size());
      int64_t splits = num_features;
      int64_t weights = num_features + num_ragged;
      for (int64_t f = 0; f < num_features; ++f) {
        if ((ragged[f] && splits == num_features + num_ragged) ||
            (weighted[f] &&
             weights == num_features + num_ragged + num_weighted)) {
          break;
        }
        ShapeHandle of_splits;
        if (ragged[f]) of_splits = c->input(splits);
        ShapeHandle filled;
        TF_RETURN_IF_ERROR(FilledShape(c, c->input(f), single[f],
                                       ragged[f] ? &of_splits : nullptr,
                                       &filled));
        c->set_output(f, filled);
        if (ragged[f]) {
          c->set_output(splits, of_splits);
          ++splits;
        }
        if (weighted[f]) {
          ShapeHandle unused;
          TF_RETURN_IF_ERROR(c->Merge(c->input(f), c->input(weights), &unused));
          c->set_output(weights, filled);
          ++weights;
        }
      }
      int64_t marked_ragged = 0;
      int64_t marked_weighted = 0;
      for (int64_t f = 0; f < num_features; ++f) {
        marked_ragged += ragged[f];
        marked_weighted += weighted[f];
      }
      if (marked_ragged != num_ragged || marked_weighted != num_weighted) {
        return absl::InvalidArgumentError(absl::StrCat(
            "`splits` needs one entry a ragged and `weights` one a weighted "
            "feature; got ",
            num_ragged, " and ", num_weighted, " for ", marked_ragged, " and ",
            marked_weighted, "."));
      }
      return absl::OkStatus();
    })
    .Doc(R"doc(
Puts an id of the feature's choice where a list has no id but padding.

Reads and changes no table. A list of padding alone has its first element
replaced, a list of row splits without elements gets one, dense lists of length
0 get length 1. All else keeps its place.

ids, splits, weights: as of MonolithPartition and MonolithCombine, of those
  features that have a default id.
filled_ids, filled_splits, filled_weights: the same with default ids, whose
  weights are 1.
single: whether each id of the feature is a list of its own (combiner none).
padded: whether the feature has a padding id, which is in padding_ids.
)doc");

}  // namespace
}  // namespace monolith_tf
