// feature_kernel.h: the base of a worker's kernels that run on the ids of
// several features.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_FEATURE_KERNEL_H_
#define MONOLITH_TF_OPS_CC_KERNELS_FEATURE_KERNEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/features/combiner.h"
#include "ops/cc/kernels/feature_lists.h"
#include "ops/cc/kernels/inputs.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// Reads the attributes that such kernels share: `num_tables`, `num_shards`,
// `feature_tables`, `combiners`, `ns`, `ragged`, and `weighted` where the op
// has weights. C++ runs the constructor of a child on after an error of this
// one: a child looks at the context's status first.
class FeatureKernel : public tensorflow::OpKernel {
 public:
  explicit FeatureKernel(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadAttributes(context));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 protected:
  // The ids of all features, or their positions, with the lists that they form
  // and per feature the weights of its ids, or null.
  struct Batch {
    tensorflow::OpInputList ids;
    std::vector<FeatureLists> lists;
    std::vector<const float*> weights;
    int64_t num_ids = 0;  // of all features

    const int64_t* data(int64_t f) const {
      return ids[f].flat<int64_t>().data();
    }
  };

  virtual absl::Status Run(tensorflow::OpKernelContext* context) = 0;

  int64_t num_features() const { return combiners_.size(); }
  int64_t num_tables() const { return num_tables_; }
  int64_t num_shards() const { return num_shards_; }
  int64_t table_of(int64_t f) const { return tables_[f]; }
  bool is_weighted(int64_t f) const { return weighted_[f]; }
  const Combiner& combiner(int64_t f) const { return combiners_[f]; }

  // Reads input `ids`, which may be called otherwise, with `splits` and, where
  // the op has them, `weights`.
  absl::Status GetBatch(tensorflow::OpKernelContext* context, const char* ids,
                        Batch* batch) const {
    TF_RETURN_IF_ERROR(context->input_list(ids, &batch->ids));
    tensorflow::OpInputList splits;
    TF_RETURN_IF_ERROR(context->input_list("splits", &splits));
    tensorflow::OpInputList weights;
    if (has_weights_) {
      TF_RETURN_IF_ERROR(context->input_list("weights", &weights));
    }
    batch->lists.resize(num_features());
    batch->weights.assign(num_features(), nullptr);
    int next_splits = 0;
    int next_weights = 0;
    for (int64_t f = 0; f < num_features(); ++f) {
      const tensorflow::Tensor& feature_ids = batch->ids[f];
      const tensorflow::Tensor* const feature_splits =
          ragged_[f] ? &splits[next_splits++] : nullptr;
      const tensorflow::Tensor* const feature_weights =
          weighted_[f] ? &weights[next_weights++] : nullptr;
      TF_RETURN_IF_ERROR(
          Of(absl::StrCat("Feature number ", f),
             GetFeature(feature_ids, feature_splits, feature_weights,
                        combiners_[f], &batch->lists[f], &batch->weights[f])));
      batch->num_ids += feature_ids.NumElements();
    }
    return absl::OkStatus();
  }

 private:
  absl::Status ReadAttributes(tensorflow::OpKernelConstruction* context) {
    TF_RETURN_IF_ERROR(context->GetAttr("num_tables", &num_tables_));
    TF_RETURN_IF_ERROR(context->GetAttr("num_shards", &num_shards_));
    TF_RETURN_IF_ERROR(CheckNumShards(num_shards_));
    TF_RETURN_IF_ERROR(CheckNumTables(num_tables_, num_shards_));
    int64_t num_features;
    TF_RETURN_IF_ERROR(context->GetAttr("num_features", &num_features));
    std::vector<std::string> names;
    std::vector<int64_t> ns;
    TF_RETURN_IF_ERROR(GetEntries(context, "combiners", num_features, &names));
    TF_RETURN_IF_ERROR(GetEntries(context, "ns", num_features, &ns));
    TF_RETURN_IF_ERROR(
        GetEntries(context, "feature_tables", num_features, &tables_));
    TF_RETURN_IF_ERROR(GetEntries(context, "ragged", num_features, &ragged_));
    int64_t num_ragged;
    TF_RETURN_IF_ERROR(context->GetAttr("num_ragged", &num_ragged));
    TF_RETURN_IF_ERROR(CheckMarked("splits", "ragged", ragged_, num_ragged));
    weighted_.assign(num_features, false);
    has_weights_ = context->HasAttr("weighted");
    if (has_weights_) {
      int64_t num_weighted;
      TF_RETURN_IF_ERROR(
          GetEntries(context, "weighted", num_features, &weighted_));
      TF_RETURN_IF_ERROR(context->GetAttr("num_weighted", &num_weighted));
      TF_RETURN_IF_ERROR(
          CheckMarked("weights", "weighted", weighted_, num_weighted));
    }
    combiners_.resize(num_features);
    for (int64_t f = 0; f < num_features; ++f) {
      TF_RETURN_IF_ERROR(Combiner::Make(names[f], ns[f], &combiners_[f]));
      if (tables_[f] < 0 || tables_[f] >= num_tables_) {
        return absl::InvalidArgumentError(absl::StrCat(
            "feature_tables must be from 0 to ", num_tables_ - 1,
            ". Received: ", tables_[f], " for feature number ", f, "."));
      }
    }
    return absl::OkStatus();
  }

  int64_t num_tables_ = 0;
  int64_t num_shards_ = 0;
  bool has_weights_ = false;
  std::vector<Combiner> combiners_;
  // Per feature.
  std::vector<int64_t> tables_;
  std::vector<bool> ragged_;
  std::vector<bool> weighted_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_FEATURE_KERNEL_H_
