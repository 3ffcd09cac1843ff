#include <memory>

#include "ops/cc/table/loop_optimizer.h"
#include "ops/cc/table/optimizer_families.h"
#include "ops/cc/table/row_loops.h"

namespace monolith_tf {

// As tf_keras.optimizers.SGD: weights -= rate * g.
OptimizerPtr MakeSgd() {
  return std::make_unique<LoopOptimizer>(SgdLoop, std::vector<float>(),
                                         std::vector<float>());
}

}  // namespace monolith_tf
