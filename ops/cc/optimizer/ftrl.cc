#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cc/optimizer/ftrl_step.h"
#include "ops/cc/optimizer/loop_optimizer.h"
#include "ops/cc/optimizer/optimizer_families.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {
namespace {

// FtrlLoop for any power; std::pow has no vectors. Scalars {rate, l1, 2 * l2 +
// beta / rate, 2 * l2_shrinkage, -learning_rate_power}.
void PowerFtrl(int64_t dim, int n, float* const* weights, float* const* slots,
               const float* const* gradients, const float* scalars) {
  const float power = scalars[4];
  for (int i = 0; i < n; ++i) {
    FtrlStep(dim, weights[i], slots[i], gradients[i], scalars,
             [power](float n) { return std::pow(n, power); });
  }
}

RowLoop PowerFtrlLoop(InstructionSet) { return PowerFtrl; }

// As tf_keras.optimizers.Ftrl, with p = -learning_rate_power:
//   sigma = ((n + g^2)^p - n^p) / rate
//   z += g + 2 * l2_shrinkage * weights - sigma * weights
//   n += g^2
//   weights = (clip(z, -l1, l1) - z) / (n^p / rate + 2 * l2 + beta / rate)
// McMahan et al.: Ad click prediction, KDD 2013, algorithm 1 with lambda_1 =
// l1, lambda_2 = 2 * l2. A step with a learning rate of 0 (or less) changes
// nothing; tf_keras divides by it.
class Ftrl : public LoopOptimizer {
 public:
  explicit Ftrl(const FtrlParameters& parameters)
      : LoopOptimizer(
            parameters.learning_rate_power == -0.5f ? FtrlLoop : PowerFtrlLoop,
            {parameters.initial_accumulator, 0.0f},
            {parameters.l1, 0.0f, 2.0f * parameters.l2_shrinkage,
             -parameters.learning_rate_power}),
        l2_(parameters.l2),
        beta_(parameters.beta) {}

  Step Prepare(float learning_rate, int64_t global_step) const override {
    Step step = LoopOptimizer::Prepare(learning_rate, global_step);
    step.scalars[2] = 2.0f * (l2_ + beta_ / (2.0f * learning_rate));
    return step;
  }

  void Apply(const Step& step, int64_t dim, int n, float* const* weights,
             float* const* slots,
             const float* const* gradients) const override {
    if (!(step.learning_rate > 0.0f)) return;
    LoopOptimizer::Apply(step, dim, n, weights, slots, gradients);
  }

 private:
  const float l2_;
  const float beta_;
};

}  // namespace

OptimizerPtr MakeFtrl(const FtrlParameters& parameters) {
  return std::make_unique<Ftrl>(parameters);
}

}  // namespace monolith_tf
