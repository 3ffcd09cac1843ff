// Inputs of a training step apart from ids and gradients.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_STEP_INPUTS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_STEP_INPUTS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/stamped_time.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// The inputs of MonolithApply for one shard, and where their parts are: ids and
// counts of all tables, gradients of all ids.
struct ApplyInputs {
  tensorflow::Tensor packed;
  tensorflow::Tensor values;
  int64_t* sizes = nullptr;
  int64_t* ids = nullptr;
  int64_t* counts = nullptr;
  float* gradients = nullptr;

  int64_t num_ids() const { return counts - ids; }

  // Removes the ids whose count is 0.
  void DropUncounted(const std::vector<int64_t>& dims) {
    const int64_t total = num_ids();
    if (std::find(counts, counts + total, 0) == counts + total) return;
    const int64_t* id = ids;
    const int64_t* count = counts;
    const float* gradient = gradients;
    int64_t* kept_id = ids;
    float* kept_gradient = gradients;
    for (size_t t = 0; t < dims.size(); ++t) {
      int64_t kept = 0;
      for (int64_t i = 0; i < sizes[t]; ++i, ++id, gradient += dims[t]) {
        if (*count++ == 0) continue;
        ++kept;
        *kept_id++ = *id;
        kept_gradient = std::copy(gradient, gradient + dims[t], kept_gradient);
      }
      sizes[t] = kept;
    }
    // Overwrites ids that were moved above.
    int64_t* const packed_end =
        std::copy_if(counts, counts + total, kept_id,
                     [](int64_t count) { return count > 0; });
    counts = kept_id;
    packed = packed.Slice(0, packed_end - packed.flat<int64_t>().data());
    values = values.Slice(0, kept_gradient - values.flat<float>().data());
  }
};

// Inputs `global_step`, `event_time` and `learning_rates`, which each shard
// gets in front of its ids and gradients.
class StepInputs {
 public:
  static absl::Status Get(tensorflow::OpKernelContext* context,
                          StepInputs* out) {
    TF_RETURN_IF_ERROR(GetScalar(context, "global_step", &out->global_step_));
    TF_RETURN_IF_ERROR(StampedTime::Get(context, &out->time_));
    const tensorflow::Tensor* learning_rates = nullptr;
    TF_RETURN_IF_ERROR(GetVector(context, "learning_rates", &learning_rates));
    out->learning_rates_ = *learning_rates;
    return absl::OkStatus();
  }

  // Allocates the inputs of MonolithApply for a shard that gets `sizes[t]` ids
  // of table t, whose row length is `dims[t]`. The caller fills in ids, counts
  // and gradients.
  absl::Status Make(tensorflow::OpKernelContext* context,
                    const std::vector<int64_t>& sizes,
                    const std::vector<int64_t>& dims, ApplyInputs* out) const {
    const int64_t num_rates = learning_rates_.NumElements();
    const auto num_tables = static_cast<int64_t>(sizes.size());
    int64_t total = 0;
    int64_t floats = num_rates;
    for (int64_t t = 0; t < num_tables; ++t) {
      total += sizes[t];
      floats += sizes[t] * dims[t];
    }
    TF_RETURN_IF_ERROR(context->allocate_temp(
        tensorflow::DT_INT64,
        tensorflow::TensorShape({time_.prefix() + num_tables + 2 * total}),
        &out->packed));
    TF_RETURN_IF_ERROR(context->allocate_temp(
        tensorflow::DT_FLOAT, tensorflow::TensorShape({floats}), &out->values));
    int64_t* integers = out->packed.flat<int64_t>().data();
    *integers++ = global_step_;
    integers = time_.Write(integers);
    out->sizes = integers;
    out->ids = std::copy(sizes.begin(), sizes.end(), integers);
    out->counts = out->ids + total;
    out->gradients = std::copy_n(learning_rates_.flat<float>().data(),
                                 num_rates, out->values.flat<float>().data());
    return absl::OkStatus();
  }

 private:
  int64_t global_step_;
  StampedTime time_;
  tensorflow::Tensor learning_rates_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_STEP_INPUTS_H_
