#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cc/optimizer/loop_optimizer.h"
#include "ops/cc/optimizer/optimizer_families.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {
namespace {

// rate * sqrt(1 - beta_2^t) / (1 - beta_1^t), in float32 as in tf_keras: the
// first steps show the rounding.
float Alpha(float rate, float beta_1_power, float beta_2_power) {
  return rate * std::sqrt(1.0f - beta_2_power) / (1.0f - beta_1_power);
}

// Powers of a beta by a count of steps, without std::pow: it costs more than
// the step of a row.
class Powers {
 public:
  explicit Powers(float beta) : beta_(beta) {
    for (int i = 0; i < kSize; ++i) {
      low_.push_back(std::pow(static_cast<double>(beta), i));
      high_.push_back(std::pow(static_cast<double>(beta), i * kSize));
    }
  }

  // beta^t. Any float is taken: a count may have been imported.
  float At(float t) const {
    if (!(t >= 0.0f && t < kSize * kSize)) return std::pow(beta_, t);
    const int exponent = static_cast<int>(t);
    return static_cast<float>(low_[exponent % kSize] * high_[exponent / kSize]);
  }

 private:
  static constexpr int kSize = 1024;

  const float beta_;
  std::vector<double> low_;
  std::vector<double> high_;
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
        beta_1_(beta_1),
        beta_2_(beta_2) {}

  Step Prepare(float learning_rate, int64_t global_step) const override {
    Step step = LoopOptimizer::Prepare(learning_rate, global_step);
    const float t = static_cast<float>(global_step);
    step.scalars[0] =
        Alpha(learning_rate, std::pow(beta_1_, t), std::pow(beta_2_, t));
    return step;
  }

 private:
  const float beta_1_;
  const float beta_2_;
};

// The same with t the number of steps that the row made, a float behind the
// other slots: exact to 2^24, where the corrections are long 1.
class PerRowAdam : public LoopOptimizer {
 public:
  PerRowAdam(float beta_1, float beta_2, float epsilon, bool amsgrad)
      : LoopOptimizer(amsgrad ? AmsgradLoop : AdamLoop,
                      std::vector<float>(amsgrad ? 3 : 2, 0.0f),
                      {epsilon, Complement(beta_1), Complement(beta_2)}),
        beta_1_powers_(beta_1),
        beta_2_powers_(beta_2) {}

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
          Alpha(step.learning_rate, beta_1_powers_.At(t), beta_2_powers_.At(t));
      LoopOptimizer::Apply(row_step, dim, 1, weights + i, slots + i,
                           gradients + i);
    }
  }

 private:
  const Powers beta_1_powers_;
  const Powers beta_2_powers_;
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
