#include <memory>
#include <vector>

#include "ops/cc/optimizer/loop_optimizer.h"
#include "ops/cc/optimizer/optimizer_families.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {

// As tf_keras.optimizers.SGD: weights -= rate * g; or with momentum
//   m = momentum * m - rate * g
//   weights += nesterov ? momentum * m - rate * g : m
OptimizerPtr MakeSgd(float momentum, bool nesterov) {
  if (momentum == 0.0f) {
    return std::make_unique<LoopOptimizer>(SgdLoop, std::vector<float>(),
                                           std::vector<float>());
  }
  return std::make_unique<LoopOptimizer>(nesterov ? NesterovLoop : MomentumLoop,
                                         std::vector<float>{0.0f},
                                         std::vector<float>{momentum});
}

// weights = momentum * weights + (1 - momentum) * g: the gradient is a sample
// of what the row follows. The learning rate is not used.
OptimizerPtr MakeMovingAverage(float momentum) {
  return std::make_unique<LoopOptimizer>(
      MovingAverageLoop, std::vector<float>(),
      std::vector<float>{momentum, Complement(momentum)});
}

}  // namespace monolith_tf
