// Shape checks of the ops on features. All run when the graph is built.

#ifndef MONOLITH_TF_OPS_CC_REGISTRATIONS_FEATURE_SHAPES_H_
#define MONOLITH_TF_OPS_CC_REGISTRATIONS_FEATURE_SHAPES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace monolith_tf {

// An attribute that is a list needs one entry a feature.
template <typename Entry>
absl::Status CheckEntries(tensorflow::shape_inference::InferenceContext* c,
                          const char* name,
                          std::vector<Entry>* entries = nullptr) {
  int64_t num_features;
  TF_RETURN_IF_ERROR(c->GetAttr("num_features", &num_features));
  std::vector<Entry> read;
  TF_RETURN_IF_ERROR(c->GetAttr(name, &read));
  if (static_cast<int64_t>(read.size()) != num_features) {
    return absl::InvalidArgumentError(
        absl::StrCat("`", name, "` needs one entry a feature; got ",
                     read.size(), " for ", num_features, " features."));
  }
  if (entries != nullptr) *entries = read;
  return absl::OkStatus();
}

// TensorFlow ends the process where it makes a shape that no tensor has.
inline absl::Status FitsTensor(tensorflow::shape_inference::InferenceContext* c,
                               tensorflow::shape_inference::ShapeHandle shape) {
  if (!c->RankKnown(shape)) return absl::OkStatus();
  std::vector<int64_t> sizes;
  for (int d = 0; d < c->Rank(shape) && c->ValueKnown(c->Dim(shape, d)); ++d) {
    sizes.push_back(c->Value(c->Dim(shape, d)));
  }
  tensorflow::TensorShape unused;
  if (c->Rank(shape) <= tensorflow::TensorShape::MaxDimensions() &&
      tensorflow::TensorShape::BuildTensorShape(sizes, &unused).ok()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "vectors must fit into a tensor; got ", c->DebugString(shape), "."));
}

// The shape of a feature's vectors for ids of a shape; `splits` is null for
// dense ids.
inline absl::Status VectorsShape(
    tensorflow::shape_inference::InferenceContext* c,
    const std::string& combiner, int64_t n,
    tensorflow::shape_inference::ShapeHandle ids,
    const tensorflow::shape_inference::ShapeHandle* splits,
    tensorflow::shape_inference::DimensionHandle dim,
    tensorflow::shape_inference::ShapeHandle* out) {
  using tensorflow::shape_inference::DimensionHandle;
  using tensorflow::shape_inference::ShapeHandle;
  if (combiner != "none" && combiner != "sum" && combiner != "mean" &&
      combiner != "sqrtn" && combiner != "first_n") {
    return absl::InvalidArgumentError(absl::StrCat(
        "combiner must be 'none', 'sum', 'mean', 'sqrtn' or 'first_n', got '",
        combiner, "'."));
  }
  if (combiner == "first_n" ? n < 1 : n != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("`n` must be positive for combiner 'first_n' and 0 for ",
                     "others; got ", n, " for '", combiner, "'."));
  }
  TF_RETURN_IF_ERROR(c->WithRankAtLeast(ids, 1, &ids));
  if (splits != nullptr) {
    ShapeHandle vector;
    TF_RETURN_IF_ERROR(c->WithRank(ids, 1, &ids));
    TF_RETURN_IF_ERROR(c->WithRank(*splits, 1, &vector));
    if (combiner != "none") {
      DimensionHandle num_lists;
      TF_RETURN_IF_ERROR(c->Subtract(c->Dim(vector, 0), 1, &num_lists));
      ids = c->Vector(num_lists);
    }
  } else if (!c->RankKnown(ids)) {
    *out = c->UnknownShape();
    return absl::OkStatus();
  } else if (combiner != "none" && c->Rank(ids) > 1) {
    TF_RETURN_IF_ERROR(c->Subshape(ids, 0, -1, &ids));
  }
  if (combiner == "first_n") {
    TF_RETURN_IF_ERROR(c->Concatenate(ids, c->Vector(n), &ids));
  }
  TF_RETURN_IF_ERROR(c->Concatenate(ids, c->Vector(dim), out));
  return FitsTensor(c, *out);
}

// The attributes and splits of an op on several features.
class FeatureShapes {
 public:
  static absl::Status Get(tensorflow::shape_inference::InferenceContext* c,
                          FeatureShapes* out) {
    int64_t num_tables;
    int64_t num_shards;
    TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
    TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
    TF_RETURN_IF_ERROR(CheckNumShards(num_shards));
    TF_RETURN_IF_ERROR(CheckNumTables(num_tables, num_shards));
    TF_RETURN_IF_ERROR(c->GetAttr("num_ragged", &out->num_ragged_));
    TF_RETURN_IF_ERROR(CheckEntries(c, "feature_tables", &out->tables_));
    TF_RETURN_IF_ERROR(CheckEntries(c, "combiners", &out->combiners_));
    TF_RETURN_IF_ERROR(CheckEntries(c, "ns", &out->ns_));
    TF_RETURN_IF_ERROR(CheckEntries(c, "ragged", &out->ragged_));
    int64_t num_ragged = 0;
    for (size_t f = 0; f < out->tables_.size(); ++f) {
      if (out->tables_[f] < 0 || out->tables_[f] >= num_tables) {
        return absl::InvalidArgumentError(
            absl::StrCat("`feature_tables` must be from 0 to ", num_tables - 1,
                         "; got ", out->tables_[f], " for feature ", f, "."));
      }
      num_ragged += out->ragged_[f];
    }
    if (num_ragged != out->num_ragged_) {
      return absl::InvalidArgumentError(
          absl::StrCat("`splits` needs one entry a ragged feature; got ",
                       out->num_ragged_, " for ", num_ragged, " features."));
    }
    return absl::OkStatus();
  }

  int64_t num_features() const { return tables_.size(); }
  int64_t num_ragged() const { return num_ragged_; }
  int64_t table_of(int64_t f) const { return tables_[f]; }

  // Which input has the splits of a feature, or -1; `first` has the first.
  int64_t Splits(tensorflow::shape_inference::InferenceContext*, int64_t f,
                 int64_t first) const {
    if (!ragged_[f]) return -1;
    for (int64_t before = 0; before < f; ++before) first += ragged_[before];
    return first;
  }

  absl::Status Output(tensorflow::shape_inference::InferenceContext* c,
                      int64_t f, tensorflow::shape_inference::ShapeHandle ids,
                      int64_t splits_input, int64_t dim,
                      tensorflow::shape_inference::ShapeHandle* out) const {
    tensorflow::shape_inference::ShapeHandle splits;
    if (splits_input >= 0) splits = c->input(splits_input);
    return VectorsShape(c, combiners_[f], ns_[f], ids,
                        splits_input >= 0 ? &splits : nullptr, c->MakeDim(dim),
                        out);
  }

  // The weights of a feature, if it has some, have the shape of its ids, which
  // are input `ids`; `first` is the input with the first weights.
  absl::Status WeightsAgree(tensorflow::shape_inference::InferenceContext* c,
                            int64_t f, int64_t ids, int64_t first) const {
    std::vector<bool> weighted;
    int64_t num_weighted;
    TF_RETURN_IF_ERROR(CheckEntries(c, "weighted", &weighted));
    TF_RETURN_IF_ERROR(c->GetAttr("num_weighted", &num_weighted));
    int64_t input = first;
    int64_t total = 0;
    for (size_t other = 0; other < weighted.size(); ++other) {
      if (static_cast<int64_t>(other) < f) input += weighted[other];
      total += weighted[other];
    }
    if (total != num_weighted) {
      return absl::InvalidArgumentError(
          absl::StrCat("`weights` needs one entry a weighted feature; got ",
                       num_weighted, " for ", total, " features."));
    }
    if (!weighted[f]) return absl::OkStatus();
    tensorflow::shape_inference::ShapeHandle unused;
    return c->Merge(c->input(ids), c->input(input), &unused);
  }

 private:
  int64_t num_ragged_ = 0;
  std::vector<int64_t> tables_;
  std::vector<std::string> combiners_;
  std::vector<int64_t> ns_;
  std::vector<bool> ragged_;
};

// Inputs `ids` and `positions` have one shape.
inline absl::Status IdsAndPositions(
    tensorflow::shape_inference::InferenceContext* c, int ids, int positions) {
  tensorflow::shape_inference::ShapeHandle unused;
  return c->Merge(c->input(ids), c->input(positions), &unused);
}

// An op on one feature: `vectors` fit its ids; its splits, if it has some, are
// input `splits`, and its weights come behind.
inline absl::Status OneFeature(tensorflow::shape_inference::InferenceContext* c,
                               int ids, int splits,
                               tensorflow::shape_inference::ShapeHandle vectors,
                               tensorflow::shape_inference::ShapeHandle* out) {
  using tensorflow::shape_inference::ShapeHandle;
  std::string combiner;
  int64_t n;
  int64_t num_splits;
  int64_t num_weights;
  TF_RETURN_IF_ERROR(c->GetAttr("combiner", &combiner));
  TF_RETURN_IF_ERROR(c->GetAttr("n", &n));
  TF_RETURN_IF_ERROR(c->GetAttr("num_splits", &num_splits));
  TF_RETURN_IF_ERROR(c->GetAttr("num_weights", &num_weights));
  if (num_splits > 1 || num_weights > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("one feature has at most one tensor of row splits and one "
                     "of weights; got ",
                     num_splits, " and ", num_weights, "."));
  }
  if (num_weights == 1) {
    ShapeHandle unused;
    TF_RETURN_IF_ERROR(
        c->Merge(c->input(ids), c->input(splits + num_splits), &unused));
  }
  ShapeHandle split_shape;
  if (num_splits == 1) split_shape = c->input(splits);
  ShapeHandle expected;
  TF_RETURN_IF_ERROR(VectorsShape(c, combiner, n, c->input(ids),
                                  num_splits == 1 ? &split_shape : nullptr,
                                  c->Dim(vectors, -1), &expected));
  return c->Merge(vectors, expected, out);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_REGISTRATIONS_FEATURE_SHAPES_H_
