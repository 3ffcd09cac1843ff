#include <memory>
#include <vector>

#include "ops/cc/table/loop_optimizer.h"
#include "ops/cc/table/optimizer_families.h"
#include "ops/cc/table/row_loops.h"

namespace monolith_tf {

// As tf_keras.optimizers.Adagrad:
//   accumulator += g^2
//   weights -= rate * g / sqrt(accumulator + epsilon)
OptimizerPtr MakeAdagrad(float initial_accumulator, float epsilon) {
  return std::make_unique<LoopOptimizer>(
      AdagradLoop, std::vector<float>{initial_accumulator},
      std::vector<float>{epsilon});
}

}  // namespace monolith_tf
