#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cc/optimizer/loop_optimizer.h"
#include "ops/cc/optimizer/optimizer_families.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {
namespace {

// Adagrad with one accumulator a row, as Mudigere et al.: Software-hardware
// co-design for fast and scalable training of deep learning recommendation
// models, ISCA 2022, and FBGEMM have it:
//   accumulator += mean(g^2)
//   weights -= rate / sqrt(accumulator + epsilon) * g
// Epsilon stands under the root as in MakeAdagrad, so that the two agree at
// dim 1.
class RowWiseAdagrad : public LoopOptimizer {
 public:
  RowWiseAdagrad(float initial_accumulator, float epsilon)
      : LoopOptimizer(RowWiseAdagradLoop, {initial_accumulator}, {epsilon}) {}

  int64_t slot_floats(int64_t) const override { return 1; }

  void InitializeSlots(int64_t, const float* weights,
                       float* slots) const override {
    LoopOptimizer::InitializeSlots(1, weights, slots);
  }
};

}  // namespace

// As tf_keras.optimizers.Adagrad:
//   accumulator += g^2
//   weights -= rate * g / sqrt(accumulator + epsilon)
OptimizerPtr MakeAdagrad(float initial_accumulator, float epsilon) {
  return std::make_unique<LoopOptimizer>(
      AdagradLoop, std::vector<float>{initial_accumulator},
      std::vector<float>{epsilon});
}

OptimizerPtr MakeRowWiseAdagrad(float initial_accumulator, float epsilon) {
  return std::make_unique<RowWiseAdagrad>(initial_accumulator, epsilon);
}

// As tf_keras.optimizers.Adadelta:
//   squares = rho * squares + (1 - rho) * g^2
//   delta = -sqrt(deltas + epsilon) * g / sqrt(squares + epsilon)
//   deltas = rho * deltas + (1 - rho) * delta^2
//   weights += rate * delta
OptimizerPtr MakeAdadelta(float rho, float epsilon) {
  return std::make_unique<LoopOptimizer>(
      AdadeltaLoop, std::vector<float>{0.0f, 0.0f},
      std::vector<float>{epsilon, rho, Complement(rho)});
}

}  // namespace monolith_tf
