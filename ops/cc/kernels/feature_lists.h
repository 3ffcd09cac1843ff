// Attributes and inputs that the ops on features share.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_FEATURE_LISTS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_FEATURE_LISTS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/features/combiner.h"
#include "ops/cc/kernels/packed_ids.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// The lists of a feature whose ids, or places, are of `shape`; `splits` is null
// for dense ones.
inline absl::Status ListsOf(const tensorflow::TensorShape& shape,
                            const tensorflow::Tensor* splits,
                            const Combiner& combiner, FeatureLists* lists) {
  *lists = FeatureLists();
  if (shape.dims() < 1) {
    return absl::InvalidArgumentError(
        "ids must have a batch dimension, got a scalar.");
  }
  if (splits != nullptr) {
    if (shape.dims() != 1 || splits->dims() != 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "ids with row splits must be a vector, as the splits, got shapes ",
          shape.DebugString(), " and ", splits->shape().DebugString(), "."));
    }
    TF_RETURN_IF_ERROR(CheckSplits(splits->flat<int64_t>().data(),
                                   splits->NumElements(),
                                   shape.num_elements()));
  }
  if (combiner.kind() == Combiner::Kind::kNone || shape.dims() == 1) {
    lists->num_lists = shape.num_elements();
  }
  if (combiner.kind() == Combiner::Kind::kNone) return absl::OkStatus();
  if (splits != nullptr) {
    lists->num_lists = splits->NumElements() - 1;
    lists->splits = splits->flat<int64_t>().data();
  } else if (shape.dims() > 1) {
    lists->length = shape.dim_size(shape.dims() - 1);
    lists->num_lists = 1;
    for (int d = 0; d + 1 < shape.dims(); ++d) {
      lists->num_lists *= shape.dim_size(d);
    }
  }
  return absl::OkStatus();
}

// The shape of what a feature makes of rows of `dim`. InvalidArgument where no
// tensor is of that shape.
inline absl::Status OutputShape(const tensorflow::TensorShape& ids,
                                const Combiner& combiner,
                                const FeatureLists& lists, int64_t dim,
                                tensorflow::TensorShape* out) {
  std::vector<int64_t> sizes;
  if (combiner.kind() != Combiner::Kind::kNone && lists.splits != nullptr) {
    sizes.push_back(lists.num_lists);
  } else {
    const bool has_lists =
        combiner.kind() != Combiner::Kind::kNone && ids.dims() > 1;
    for (int d = 0; d < ids.dims() - has_lists; ++d) {
      sizes.push_back(ids.dim_size(d));
    }
  }
  if (combiner.kind() == Combiner::Kind::kFirstN) {
    sizes.push_back(combiner.vectors_per_list());
  }
  sizes.push_back(dim);
  const absl::Status status =
      tensorflow::TensorShape::BuildTensorShape(sizes, out);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat(
      "vectors of ids ", ids.DebugString(), " must fit into a tensor; got [",
      absl::StrJoin(sizes, ","), "] for dim ", dim, " and ",
      combiner.vectors_per_list(), " vectors a list: ", status.message()));
}

// An op on the ids of several features: their attributes, and their lists. The
// constructor of a child runs on when this one refused something: it has to
// look at the context's status first.
class FeaturesOp : public tensorflow::OpKernel {
 public:
  explicit FeaturesOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    std::vector<std::string> names;
    std::vector<int64_t> ns;
    OP_REQUIRES_OK(context, context->GetAttr("num_tables", &num_tables_));
    OP_REQUIRES_OK(context, context->GetAttr("num_shards", &num_shards_));
    OP_REQUIRES_OK(context, context->GetAttr("combiners", &names));
    OP_REQUIRES_OK(context, context->GetAttr("ns", &ns));
    OP_REQUIRES_OK(context, context->GetAttr("feature_tables", &tables_));
    OP_REQUIRES_OK(context, context->GetAttr("ragged", &ragged_));
    OP_REQUIRES_OK(context, CheckNumShards(num_shards_));
    OP_REQUIRES_OK(context, CheckNumTables(num_tables_, num_shards_));
    // Eager calls come without the checks of the shape function.
    int64_t num_features;
    int64_t num_ragged;
    OP_REQUIRES_OK(context, context->GetAttr("num_features", &num_features));
    OP_REQUIRES_OK(context, context->GetAttr("num_ragged", &num_ragged));
    OP_REQUIRES(context, static_cast<int64_t>(names.size()) == num_features,
                absl::InvalidArgumentError(
                    absl::StrCat("`combiners` needs one entry a feature, ",
                                 num_features, "; got ", names.size(), ".")));
    OP_REQUIRES(
        context,
        ns.size() == names.size() && tables_.size() == names.size() &&
            ragged_.size() == names.size(),
        absl::InvalidArgumentError(absl::StrCat(
            "`combiners`, `ns`, `feature_tables` and `ragged` need one entry a "
            "feature; got ",
            names.size(), ", ", ns.size(), ", ", tables_.size(), " and ",
            ragged_.size(), ".")));
    OP_REQUIRES(
        context, std::count(ragged_.begin(), ragged_.end(), true) == num_ragged,
        absl::InvalidArgumentError(absl::StrCat(
            "`splits` needs one entry a ragged feature; got ", num_ragged,
            " for ", std::count(ragged_.begin(), ragged_.end(), true), ".")));
    combiners_.resize(names.size());
    for (size_t f = 0; f < names.size(); ++f) {
      OP_REQUIRES_OK(context, Combiner::Make(names[f], ns[f], &combiners_[f]));
      OP_REQUIRES(context, tables_[f] >= 0 && tables_[f] < num_tables_,
                  absl::InvalidArgumentError(absl::StrCat(
                      "`feature_tables` must be from 0 to ", num_tables_ - 1,
                      "; got ", tables_[f], " for feature ", f, ".")));
    }
  }

 protected:
  int64_t num_features() const { return combiners_.size(); }
  int64_t num_tables() const { return num_tables_; }
  int64_t num_shards() const { return num_shards_; }
  int64_t table_of(int64_t f) const { return tables_[f]; }
  const Combiner& combiner(int64_t f) const { return combiners_[f]; }

  // The lists of all features; `ids` may be their places.
  absl::Status GetLists(const tensorflow::OpInputList& ids,
                        const tensorflow::OpInputList& splits,
                        std::vector<FeatureLists>* lists) const {
    lists->resize(num_features());
    int next = 0;
    for (int64_t f = 0; f < num_features(); ++f) {
      if (ragged_[f] && next == splits.size()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "a ragged feature needs row splits; got ", splits.size(), "."));
      }
      const tensorflow::Tensor* feature_splits =
          ragged_[f] ? &splits[next++] : nullptr;
      const absl::Status status =
          ListsOf(ids[f].shape(), feature_splits, combiners_[f], &(*lists)[f]);
      if (!status.ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat("Feature number ", f, ": ", status.message()));
      }
    }
    return absl::OkStatus();
  }

  // `weighted` has one entry a feature, and `num_weighted` of them are true.
  absl::Status CheckWeighted(const std::vector<bool>& weighted,
                             int64_t num_weighted) const {
    const int64_t num_marked =
        std::count(weighted.begin(), weighted.end(), true);
    if (static_cast<int64_t>(weighted.size()) == num_features() &&
        num_marked == num_weighted) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("`weighted` needs one entry a feature, ", num_features(),
                     ", and `weights` one a weighted feature, ", num_marked,
                     "; got ", weighted.size(), " and ", num_weighted, "."));
  }

  // Per feature its weights or null; `weighted` is the attribute.
  absl::Status GetWeights(const tensorflow::OpInputList& ids,
                          const tensorflow::OpInputList& weights,
                          const std::vector<bool>& weighted,
                          std::vector<const float*>* out) const {
    out->assign(num_features(), nullptr);
    int next = 0;
    for (int64_t f = 0; f < num_features(); ++f) {
      if (!weighted[f]) continue;
      if (next == weights.size() ||
          weights[next].NumElements() != ids[f].NumElements()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "Feature number ", f, ": weights must be as many as ids, ",
            ids[f].NumElements(), "; got ",
            next == weights.size() ? std::string("none")
                                   : absl::StrCat(weights[next].NumElements()),
            "."));
      }
      (*out)[f] = weights[next++].flat<float>().data();
    }
    return absl::OkStatus();
  }

 private:
  int64_t num_tables_;
  int64_t num_shards_;
  std::vector<Combiner> combiners_;
  std::vector<int64_t> tables_;
  std::vector<bool> ragged_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_FEATURE_LISTS_H_
