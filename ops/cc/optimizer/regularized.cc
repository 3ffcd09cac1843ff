#include <cfloat>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/optimizer/optimizer_families.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {
namespace {

// What tf_keras does around the step of an optimizer, in its order, on a row:
//   g += 2 * l2 * weights                         (regularizers.L2 in the loss)
//   g = clip(g, -clip_value, clip_value)
//   g *= clip_norm / max(|g|_2, clip_norm)
//   weights -= weights * weight_decay * rate
//   step of the optimizer with g
//   weights *= min(|weights|_2, max_norm) / (1e-7 + |weights|_2)
//                                                 (constraints.MaxNorm)
// tf_keras takes clip_norm alone if both clips are given; here both are done.
class Regularized : public Optimizer {
 public:
  Regularized(OptimizerPtr inner, const RegularizationConfig& config)
      : inner_(std::move(inner)), config_(config) {
    if (config_.clip_value == 0) config_.clip_value = FLT_MAX;
  }

  int64_t slot_floats(int64_t dim) const override {
    return inner_->slot_floats(dim);
  }

  void InitializeSlots(int64_t dim, const float* weights,
                       float* slots) const override {
    inner_->InitializeSlots(dim, weights, slots);
  }

  Step Prepare(float learning_rate, int64_t global_step) const override {
    return inner_->Prepare(learning_rate, global_step);
  }

  void Apply(const Step& step, int64_t dim, int n, float* const* weights,
             float* const* slots,
             const float* const* gradients) const override {
    const float scalars[] = {step.learning_rate, config_.weight_decay,
                             2.0f * config_.l2, config_.clip_value};
    absl::InlinedVector<float, 256> gradient(dim);
    float* const changed[] = {gradient.data()};
    const float* const unchanged[] = {gradient.data()};
    // Row by row: one may come twice, and l2 looks at its weights.
    for (int i = 0; i < n; ++i) {
      regularize_(dim, 1, weights + i, changed, gradients + i, scalars);
      if (config_.clip_norm > 0) {
        clip_norm_(dim, 1, changed, changed, unchanged, &config_.clip_norm);
      }
      inner_->Apply(step, dim, 1, weights + i, slots + i, unchanged);
      if (config_.max_norm > 0) {
        max_norm_(dim, 1, weights + i, changed, unchanged, &config_.max_norm);
      }
    }
  }

 private:
  const OptimizerPtr inner_;
  RegularizationConfig config_;
  const RowLoop regularize_ = RegularizeLoop(WidestInstructionSet());
  const RowLoop clip_norm_ = ClipNormLoop(WidestInstructionSet());
  const RowLoop max_norm_ = MaxNormLoop(WidestInstructionSet());
};

}  // namespace

OptimizerPtr MakeRegularized(OptimizerPtr inner,
                             const RegularizationConfig& config) {
  return std::make_unique<Regularized>(std::move(inner), config);
}

}  // namespace monolith_tf
