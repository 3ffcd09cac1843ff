// Attributes and inputs that the ops on features share.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_FEATURE_LISTS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_FEATURE_LISTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/table/combiner.h"
#include "ops/cc/table/partition.h"
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

// The shape of what a feature makes of rows of `dim`.
inline tensorflow::TensorShape OutputShape(const tensorflow::TensorShape& ids,
                                           const Combiner& combiner,
                                           const FeatureLists& lists,
                                           int64_t dim) {
  tensorflow::TensorShape shape = ids;
  if (combiner.kind() != Combiner::Kind::kNone) {
    if (lists.splits != nullptr) {
      shape = tensorflow::TensorShape({lists.num_lists});
    } else if (shape.dims() > 1) {
      shape.RemoveLastDims(1);
    }
    if (combiner.kind() == Combiner::Kind::kFirstN) {
      shape.AddDim(combiner.vectors_per_list());
    }
  }
  shape.AddDim(dim);
  return shape;
}

// An op on the ids of several features: their attributes, and their lists.
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
    OP_REQUIRES(context, num_shards_ <= kNumPartitions,
                absl::InvalidArgumentError(
                    absl::StrCat("num_shards must be at most ", kNumPartitions,
                                 ", got ", num_shards_, ".")));
    OP_REQUIRES(
        context,
        ns.size() == names.size() && tables_.size() == names.size() &&
            ragged_.size() == names.size(),
        absl::InvalidArgumentError(absl::StrCat(
            "`combiners`, `ns`, `feature_tables` and `ragged` need one entry a "
            "feature; got ",
            names.size(), ", ", ns.size(), ", ", tables_.size(), " and ",
            ragged_.size(), ".")));
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
