#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cc/optimizer/loop_optimizer.h"
#include "ops/cc/optimizer/optimizer_families.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {
namespace {

// Zheng et al.: Asynchronous stochastic gradient descent with delay
// compensation, ICML 2017, equation (10): a gradient that was worked out at
// `backup` is carried over to the row as it is now by
//   g + lambda * g * g * (weights - backup)
// Here `backup` is the row before its last update: the weights that a worker
// saw whose gradient comes one update late.
class DelayCompensated : public LoopOptimizer {
 public:
  using LoopOptimizer::LoopOptimizer;

  void InitializeSlots(int64_t dim, const float* weights,
                       float* slots) const override {
    LoopOptimizer::InitializeSlots(dim, weights, slots);
    // The last slot is the backup.
    std::copy_n(weights, dim, slots + slot_floats(dim) - dim);
  }
};

}  // namespace

OptimizerPtr MakeDelayCompensatedSgd(float variance_control) {
  return std::make_unique<DelayCompensated>(
      DelayCompensatedSgdLoop, std::vector<float>{0.0f},
      std::vector<float>{variance_control});
}

// Adagrad, see MakeAdagrad, on compensated gradients.
OptimizerPtr MakeDelayCompensatedAdagrad(float variance_control,
                                         float initial_accumulator,
                                         float epsilon) {
  return std::make_unique<DelayCompensated>(
      DelayCompensatedAdagradLoop,
      std::vector<float>{initial_accumulator, 0.0f},
      std::vector<float>{epsilon, variance_control});
}

}  // namespace monolith_tf
