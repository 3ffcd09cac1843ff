// The kernel that puts default ids where examples have no id.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/features/combiner.h"
#include "ops/cc/features/default_ids.h"
#include "ops/cc/kernels/feature_lists.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/parallel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpInputList;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::OpOutputList;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class FillMissingOp : public OpKernel {
 public:
  explicit FillMissingOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadAttributes(context));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  struct Feature {
    Tensor ids;
    Tensor splits;
    Tensor weights;
  };

  absl::Status ReadAttributes(OpKernelConstruction* context) {
    std::vector<bool> padded;
    std::vector<int64_t> padding_ids;
    std::vector<int64_t> default_ids;
    int64_t n;
    int64_t num_ragged;
    int64_t num_weighted;
    TF_RETURN_IF_ERROR(context->GetAttr("num_features", &n));
    TF_RETURN_IF_ERROR(context->GetAttr("num_ragged", &num_ragged));
    TF_RETURN_IF_ERROR(context->GetAttr("num_weighted", &num_weighted));
    TF_RETURN_IF_ERROR(GetEntries(context, "single", n, &single_));
    TF_RETURN_IF_ERROR(GetEntries(context, "ragged", n, &ragged_));
    TF_RETURN_IF_ERROR(GetEntries(context, "weighted", n, &weighted_));
    TF_RETURN_IF_ERROR(GetEntries(context, "padded", n, &padded));
    TF_RETURN_IF_ERROR(GetEntries(context, "padding_ids", n, &padding_ids));
    TF_RETURN_IF_ERROR(GetEntries(context, "default_ids", n, &default_ids));
    TF_RETURN_IF_ERROR(CheckMarked("splits", "ragged", ragged_, num_ragged));
    TF_RETURN_IF_ERROR(
        CheckMarked("weights", "weighted", weighted_, num_weighted));
    for (int64_t f = 0; f < n; ++f) {
      choices_.push_back({padded[f], padding_ids[f], default_ids[f]});
    }
    return absl::OkStatus();
  }

  absl::Status Run(OpKernelContext* context) const {
    OpInputList ids;
    OpInputList splits;
    OpInputList weights;
    TF_RETURN_IF_ERROR(context->input_list("ids", &ids));
    TF_RETURN_IF_ERROR(context->input_list("splits", &splits));
    TF_RETURN_IF_ERROR(context->input_list("weights", &weights));
    OpOutputList filled_ids;
    OpOutputList filled_splits;
    OpOutputList filled_weights;
    TF_RETURN_IF_ERROR(context->output_list("filled_ids", &filled_ids));
    TF_RETURN_IF_ERROR(context->output_list("filled_splits", &filled_splits));
    TF_RETURN_IF_ERROR(context->output_list("filled_weights", &filled_weights));
    std::vector<Feature> features(ids.size());
    std::vector<absl::Status> statuses(ids.size());
    int64_t num_ids = 0;
    for (int f = 0; f < ids.size(); ++f) num_ids += ids[f].NumElements();
    ForEachUnit(
        context, ids.size(), NumThreadsFor(context, num_ids), [&](int64_t f) {
          statuses[f] =
              Fill(context, f, ids[f],
                   ragged_[f] ? &splits[NumBefore(ragged_, f)] : nullptr,
                   weighted_[f] ? &weights[NumBefore(weighted_, f)] : nullptr,
                   &features[f]);
        });
    int next_splits = 0;
    int next_weights = 0;
    for (int f = 0; f < ids.size(); ++f) {
      TF_RETURN_IF_ERROR(Of(absl::StrCat("Feature number ", f), statuses[f]));
      filled_ids.set(f, features[f].ids);
      if (ragged_[f]) filled_splits.set(next_splits++, features[f].splits);
      if (weighted_[f]) filled_weights.set(next_weights++, features[f].weights);
    }
    return absl::OkStatus();
  }

  // The number of features before number `f` that `has` marks.
  static int NumBefore(const std::vector<bool>& has, int64_t f) {
    return std::count(has.begin(), has.begin() + f, true);
  }

  absl::Status Fill(OpKernelContext* context, int64_t f, const Tensor& ids,
                    const Tensor* splits, const Tensor* weights,
                    Feature* out) const {
    Combiner combiner;
    TF_RETURN_IF_ERROR(
        Combiner::Make(single_[f] ? "none" : "sum", /*n=*/0, &combiner));
    FeatureLists lists;
    TF_RETURN_IF_ERROR(ListsOf(ids.shape(), splits, combiner, &lists));
    if (weights != nullptr && weights->shape() != ids.shape()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "weights must have the shape of the ids, ", ids.shape().DebugString(),
          ". Received: shape ", weights->shape().DebugString(), "."));
    }
    out->ids = ids;
    if (splits != nullptr) out->splits = *splits;
    if (weights != nullptr) out->weights = *weights;
    const int64_t* const from = ids.flat<int64_t>().data();
    TensorShape shape = ids.shape();
    if (splits == nullptr && lists.length == 0) {
      // Dense lists of length 0 get length 1, also if there are no lists. The
      // number of lists costs the sender no memory, so the result may be larger
      // than memory.
      TF_RETURN_IF_ERROR(shape.SetDimWithStatus(shape.dims() - 1, 1));
    } else {
      const MissingLists missing = CountMissing(lists, from, choices_[f]);
      if (missing.num_missing == 0) return absl::OkStatus();
      if (splits != nullptr && !single_[f]) {
        TF_RETURN_IF_ERROR(
            shape.SetDimWithStatus(0, shape.dim_size(0) + missing.num_empty));
      }
    }
    TF_RETURN_IF_ERROR(
        context->allocate_temp(tensorflow::DT_INT64, shape, &out->ids));
    float* filled_weights = nullptr;
    if (weights != nullptr) {
      TF_RETURN_IF_ERROR(
          context->allocate_temp(tensorflow::DT_FLOAT, shape, &out->weights));
      filled_weights = out->weights.flat<float>().data();
    }
    int64_t* filled_splits = nullptr;
    if (splits != nullptr && !single_[f]) {
      TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_INT64,
                                                splits->shape(), &out->splits));
      filled_splits = out->splits.flat<int64_t>().data();
    }
    FillMissing(lists, from,
                weights == nullptr ? nullptr : weights->flat<float>().data(),
                choices_[f], out->ids.flat<int64_t>().data(), filled_weights,
                filled_splits);
    return absl::OkStatus();
  }

  // Per feature: each id is a list.
  std::vector<bool> single_;
  std::vector<bool> ragged_;
  std::vector<bool> weighted_;
  std::vector<DefaultId> choices_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithFillMissing").Device(DEVICE_CPU),
                        FillMissingOp);

}  // namespace
}  // namespace monolith_tf
