#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cc/table/loop_optimizer.h"
#include "ops/cc/table/optimizer_families.h"
#include "ops/cc/table/row_loops.h"

namespace monolith_tf {
namespace {

// As tf_keras.optimizers.Adam, with t the global step:
//   m += (g - m) * (1 - beta_1)
//   v += (g^2 - v) * (1 - beta_2)
//   weights -= m * alpha / (sqrt(v) + epsilon)
//   alpha = rate * sqrt(1 - beta_2^t) / (1 - beta_1^t)
class Adam : public LoopOptimizer {
 public:
  Adam(float beta_1, float beta_2, float epsilon)
      : LoopOptimizer(AdamLoop, {0.0f, 0.0f},
                      {epsilon, Complement(beta_1), Complement(beta_2)}),
        beta_1_(beta_1),
        beta_2_(beta_2) {}

  Step Prepare(float learning_rate, int64_t global_step) const override {
    Step step = LoopOptimizer::Prepare(learning_rate, global_step);
    // In float32 as there: the first steps show the rounding.
    const float t = static_cast<float>(global_step);
    const float correction_1 = 1.0f - std::pow(beta_1_, t);
    const float correction_2 = 1.0f - std::pow(beta_2_, t);
    step.scalars[0] = learning_rate * std::sqrt(correction_2) / correction_1;
    return step;
  }

 private:
  const float beta_1_;
  const float beta_2_;
};

}  // namespace

OptimizerPtr MakeAdam(float beta_1, float beta_2, float epsilon) {
  return std::make_unique<Adam>(beta_1, beta_2, epsilon);
}

}  // namespace monolith_tf
