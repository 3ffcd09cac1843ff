// Shape checks of the ops on features. All run when the graph is built.

#ifndef MONOLITH_TF_OPS_CC_REGISTRATIONS_FEATURE_SHAPES_H_
#define MONOLITH_TF_OPS_CC_REGISTRATIONS_FEATURE_SHAPES_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace monolith_tf {

// Attribute `name`, a list with one entry per feature.
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
        absl::StrCat(name, " must have one entry per feature, ", num_features,
                     ". Received: ", read.size(), "."));
  }
  if (entries != nullptr) *entries = read;
  return absl::OkStatus();
}

// Input list `inputs`, of length `num_inputs`, has one entry per feature that
// `marks` marks; `what` names such features.
inline absl::Status CheckMarked(const char* inputs, const char* what,
                                const std::vector<bool>& marks,
                                int64_t num_inputs) {
  const int64_t expected = std::count(marks.begin(), marks.end(), true);
  if (num_inputs == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(inputs, " must have one entry per ", what, " feature, ",
                   expected, ". Received: ", num_inputs, "."));
}

// Refuses a shape that no tensor has: TensorFlow would end the process.
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
  return absl::InvalidArgumentError(
      absl::StrCat("vectors must fit into a tensor. Received: shape ",
                   c->DebugString(shape), "."));
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
        "combiner must be 'none', 'sum', 'mean', 'sqrtn' or 'first_n'. "
        "Received: '",
        combiner, "'."));
  }
  if (combiner == "first_n" ? n < 1 : n != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("n must be positive for combiner 'first_n' and 0 for ",
                     "others. Received: ", n, " for '", combiner, "'."));
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

// The inputs and attributes of an op on several features.
class FeatureShapes {
 public:
  // Reads input `ids`, which may be called otherwise, with `splits` and, where
  // the op has them, `weights`.
  static absl::Status Get(tensorflow::shape_inference::InferenceContext* c,
                          const char* ids, FeatureShapes* out) {
    int64_t num_tables;
    int64_t num_shards;
    TF_RETURN_IF_ERROR(c->GetAttr("num_tables", &num_tables));
    TF_RETURN_IF_ERROR(c->GetAttr("num_shards", &num_shards));
    TF_RETURN_IF_ERROR(CheckNumShards(num_shards));
    TF_RETURN_IF_ERROR(CheckNumTables(num_tables, num_shards));
    TF_RETURN_IF_ERROR(CheckEntries(c, "feature_tables", &out->tables_));
    TF_RETURN_IF_ERROR(CheckEntries(c, "combiners", &out->combiners_));
    TF_RETURN_IF_ERROR(CheckEntries(c, "ns", &out->ns_));
    for (size_t f = 0; f < out->tables_.size(); ++f) {
      if (out->tables_[f] < 0 || out->tables_[f] >= num_tables) {
        return absl::InvalidArgumentError(absl::StrCat(
            "feature_tables must be from 0 to ", num_tables - 1,
            ". Received: ", out->tables_[f], " for feature number ", f, "."));
      }
    }
    TF_RETURN_IF_ERROR(c->input(ids, &out->ids_));
    std::vector<bool> ragged;
    TF_RETURN_IF_ERROR(CheckEntries(c, "ragged", &ragged));
    Shapes splits;
    TF_RETURN_IF_ERROR(c->input("splits", &splits));
    TF_RETURN_IF_ERROR(CheckMarked("splits", "ragged", ragged, splits.size()));
    out->splits_ = OfFeatures(ragged, splits);
    return absl::OkStatus();
  }

  int64_t num_features() const { return tables_.size(); }
  int64_t table_of(int64_t f) const { return tables_[f]; }
  tensorflow::shape_inference::ShapeHandle ids(int64_t f) const {
    return ids_[f];
  }

  // The shape of the vectors that a feature makes of rows of `dim`.
  absl::Status Output(tensorflow::shape_inference::InferenceContext* c,
                      int64_t f, int64_t dim,
                      tensorflow::shape_inference::ShapeHandle* out) const {
    return VectorsShape(c, combiners_[f], ns_[f], ids_[f],
                        splits_[f].empty() ? nullptr : &splits_[f][0],
                        c->MakeDim(dim), out);
  }

  // Inputs `weights` have the shapes of the ids of weighted features.
  absl::Status WeightsAgree(
      tensorflow::shape_inference::InferenceContext* c) const {
    std::vector<bool> weighted;
    TF_RETURN_IF_ERROR(CheckEntries(c, "weighted", &weighted));
    Shapes weights;
    TF_RETURN_IF_ERROR(c->input("weights", &weights));
    TF_RETURN_IF_ERROR(
        CheckMarked("weights", "weighted", weighted, weights.size()));
    const std::vector<Shapes> of_features = OfFeatures(weighted, weights);
    for (int64_t f = 0; f < num_features(); ++f) {
      if (of_features[f].empty()) continue;
      tensorflow::shape_inference::ShapeHandle unused;
      TF_RETURN_IF_ERROR(c->Merge(ids_[f], of_features[f][0], &unused));
    }
    return absl::OkStatus();
  }

 private:
  // Per feature the shape that it has, if `marks` marks it.
  static std::vector<Shapes> OfFeatures(const std::vector<bool>& marks,
                                        const Shapes& shapes) {
    std::vector<Shapes> found(marks.size());
    size_t next = 0;
    for (size_t f = 0; f < marks.size(); ++f) {
      if (marks[f]) found[f].push_back(shapes[next++]);
    }
    return found;
  }

  // Per feature.
  Shapes ids_;
  std::vector<Shapes> splits_;
  std::vector<int64_t> tables_;
  std::vector<std::string> combiners_;
  std::vector<int64_t> ns_;
};

// An op on one feature: inputs `ids` and `positions` have one shape, which
// `weights` has too where the feature has weights, and `vectors` fits them.
inline absl::Status OneFeature(tensorflow::shape_inference::InferenceContext* c,
                               tensorflow::shape_inference::ShapeHandle vectors,
                               tensorflow::shape_inference::ShapeHandle* out) {
  using tensorflow::shape_inference::ShapeHandle;
  std::string combiner;
  int64_t n;
  TF_RETURN_IF_ERROR(c->GetAttr("combiner", &combiner));
  TF_RETURN_IF_ERROR(c->GetAttr("n", &n));
  ShapeHandle ids;
  ShapeHandle positions;
  ShapeHandle unused;
  TF_RETURN_IF_ERROR(InputShape(c, "ids", &ids));
  TF_RETURN_IF_ERROR(InputShape(c, "positions", &positions));
  TF_RETURN_IF_ERROR(c->Merge(ids, positions, &unused));
  Shapes splits;
  Shapes weights;
  TF_RETURN_IF_ERROR(c->input("splits", &splits));
  TF_RETURN_IF_ERROR(c->input("weights", &weights));
  if (splits.size() > 1 || weights.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a feature has at most one tensor of row splits and one "
                     "of weights. Received: ",
                     splits.size(), " and ", weights.size(), "."));
  }
  if (!weights.empty()) {
    TF_RETURN_IF_ERROR(c->Merge(ids, weights[0], &unused));
  }
  ShapeHandle expected;
  TF_RETURN_IF_ERROR(VectorsShape(c, combiner, n, ids,
                                  splits.empty() ? nullptr : &splits[0],
                                  c->Dim(vectors, -1), &expected));
  return c->Merge(vectors, expected, out);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_REGISTRATIONS_FEATURE_SHAPES_H_
