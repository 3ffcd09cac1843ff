// What a training step brings beside ids and gradients.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_STEP_INPUTS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_STEP_INPUTS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// What comes in front of a shard's ids and gradients: inputs 0 to 2.
class StepInputs {
 public:
  static absl::Status Get(tensorflow::OpKernelContext* context,
                          StepInputs* out) {
    const tensorflow::Tensor& global_step = context->input(0);
    const tensorflow::Tensor& event_time = context->input(1);
    const tensorflow::Tensor& learning_rates = context->input(2);
    if (global_step.dims() != 0 || event_time.dims() != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("`global_step` and `event_time` must be scalars, got ",
                       global_step.shape().DebugString(), " and ",
                       event_time.shape().DebugString(), "."));
    }
    if (learning_rates.dims() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("`learning_rates` must be a vector, got ",
                       learning_rates.shape().DebugString(), "."));
    }
    out->global_step_ = global_step.scalar<int64_t>()();
    out->event_time_ = event_time.scalar<int64_t>()();
    out->learning_rates_ = learning_rates;
    return absl::OkStatus();
  }

  // Makes the inputs of MonolithApply for a shard that gets `sizes[t]` ids of
  // each table, and tells where ids, counts and gradients go.
  absl::Status Allocate(int64_t shard, const std::vector<int64_t>& sizes,
                        const std::vector<int64_t>& dims,
                        tensorflow::OpOutputList* packed,
                        tensorflow::OpOutputList* values, int64_t** ids,
                        int64_t** counts, float** gradients) const {
    const int64_t num_rates = learning_rates_.NumElements();
    int64_t total = 0;
    int64_t floats = num_rates;
    for (size_t t = 0; t < sizes.size(); ++t) {
      total += sizes[t];
      floats += sizes[t] * dims[t];
    }
    tensorflow::Tensor* integers = nullptr;
    TF_RETURN_IF_ERROR(packed->allocate(
        shard,
        tensorflow::TensorShape(
            {2 + static_cast<int64_t>(sizes.size()) + 2 * total}),
        &integers));
    int64_t* out = integers->flat<int64_t>().data();
    *out++ = global_step_;
    *out++ = event_time_;
    *ids = std::copy(sizes.begin(), sizes.end(), out);
    *counts = *ids + total;
    tensorflow::Tensor* reals = nullptr;
    TF_RETURN_IF_ERROR(
        values->allocate(shard, tensorflow::TensorShape({floats}), &reals));
    *gradients = std::copy_n(learning_rates_.flat<float>().data(), num_rates,
                             reals->flat<float>().data());
    return absl::OkStatus();
  }

 private:
  int64_t global_step_;
  int64_t event_time_;
  tensorflow::Tensor learning_rates_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_STEP_INPUTS_H_
