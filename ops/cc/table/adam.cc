#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cc/table/loop_optimizer.h"
#include "ops/cc/table/optimizer_families.h"
#include "ops/cc/table/row_loops.h"

namespace monolith_tf {
namespace {

// What alpha corrects for at step t, in float32 as in tf_keras: the first
// steps show the rounding.
class BiasCorrection {
 public:
  BiasCorrection(float beta_1, float beta_2)
      : beta_1_(beta_1), beta_2_(beta_2) {}

  // rate * sqrt(1 - beta_2^t) / (1 - beta_1^t)
  float Alpha(float rate, float t) const {
    const float correction_1 = 1.0f - std::pow(beta_1_, t);
    const float correction_2 = 1.0f - std::pow(beta_2_, t);
    return rate * std::sqrt(correction_2) / correction_1;
  }

 private:
  const float beta_1_;
  const float beta_2_;
};

// As tf_keras.optimizers.Adam, with t the global step:
//   m += (g - m) * (1 - beta_1)
//   v += (g^2 - v) * (1 - beta_2)
//   v_hat = amsgrad ? max(v_hat, v) : v
//   weights -= m * alpha / (sqrt(v_hat) + epsilon)
//   alpha = rate * sqrt(1 - beta_2^t) / (1 - beta_1^t)
class Adam : public LoopOptimizer {
 public:
  Adam(float beta_1, float beta_2, float epsilon, bool amsgrad)
      : LoopOptimizer(amsgrad ? AmsgradLoop : AdamLoop,
                      std::vector<float>(amsgrad ? 3 : 2, 0.0f),
                      {epsilon, Complement(beta_1), Complement(beta_2)}),
        correction_(beta_1, beta_2) {}

  Step Prepare(float learning_rate, int64_t global_step) const override {
    Step step = LoopOptimizer::Prepare(learning_rate, global_step);
    step.scalars[0] =
        correction_.Alpha(learning_rate, static_cast<float>(global_step));
    return step;
  }

 private:
  const BiasCorrection correction_;
};

// The same with t the number of steps that the row made, a float behind the
// other slots: exact to 2^24, where the corrections are long 1.
class PerRowAdam : public LoopOptimizer {
 public:
  PerRowAdam(float beta_1, float beta_2, float epsilon, bool amsgrad)
      : LoopOptimizer(amsgrad ? AmsgradLoop : AdamLoop,
                      std::vector<float>(amsgrad ? 3 : 2, 0.0f),
                      {epsilon, Complement(beta_1), Complement(beta_2)}),
        correction_(beta_1, beta_2) {
    alphas_.reserve(kNumAlphas);
    for (int t = 0; t < kNumAlphas; ++t) {
      alphas_.push_back(correction_.Alpha(1.0f, static_cast<float>(t)));
    }
  }

  int64_t slot_floats(int64_t dim) const override {
    return LoopOptimizer::slot_floats(dim) + 1;
  }

  void InitializeSlots(int64_t dim, const float* weights,
                       float* slots) const override {
    LoopOptimizer::InitializeSlots(dim, weights, slots);
    slots[LoopOptimizer::slot_floats(dim)] = 0.0f;
  }

  void Apply(const Step& step, int64_t dim, int n, float* const* weights,
             float* const* slots,
             const float* const* gradients) const override {
    const int64_t count_position = LoopOptimizer::slot_floats(dim);
    Step row_step = step;
    for (int i = 0; i < n; ++i) {
      const float t = slots[i][count_position] += 1.0f;
      row_step.scalars[0] =
          t >= 1 && t < kNumAlphas
              ? step.learning_rate * alphas_[static_cast<int>(t)]
              : correction_.Alpha(step.learning_rate, t);
      LoopOptimizer::Apply(row_step, dim, 1, weights + i, slots + i,
                           gradients + i);
    }
  }

 private:
  // Two powers cost as much as a row of 64: those of most rows are kept.
  static constexpr int kNumAlphas = 1024;

  const BiasCorrection correction_;
  std::vector<float> alphas_;
};

}  // namespace

OptimizerPtr MakeAdam(float beta_1, float beta_2, float epsilon, bool amsgrad,
                      bool per_row_step) {
  if (per_row_step) {
    return std::make_unique<PerRowAdam>(beta_1, beta_2, epsilon, amsgrad);
  }
  return std::make_unique<Adam>(beta_1, beta_2, epsilon, amsgrad);
}

}  // namespace monolith_tf
