#include <memory>
#include <vector>

#include "ops/cc/optimizer/loop_optimizer.h"
#include "ops/cc/optimizer/optimizer_families.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {

// As tf_keras.optimizers.RMSprop:
//   velocity = rho * velocity + (1 - rho) * g^2
//   average = rho * average + (1 - rho) * g
//   step = rate * g / sqrt(velocity - (centered ? average^2 : 0) + epsilon)
//   m = momentum * m + step
//   weights -= m
// The variance under the root is cut at 0: rounding may take it below, from
// where tf_keras goes on with NaN.
OptimizerPtr MakeRmsprop(float rho, float momentum, float epsilon,
                         bool centered) {
  const bool has_momentum = momentum != 0.0f;
  const LoopOptimizer::LoopMaker loop =
      has_momentum
          ? (centered ? CenteredMomentumRmspropLoop : MomentumRmspropLoop)
          : (centered ? CenteredRmspropLoop : RmspropLoop);
  return std::make_unique<LoopOptimizer>(
      loop, std::vector<float>(1 + has_momentum + centered, 0.0f),
      std::vector<float>{epsilon, rho, Complement(rho), momentum});
}

}  // namespace monolith_tf
