#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cc/optimizer/loop_optimizer.h"
#include "ops/cc/optimizer/optimizer_families.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {
namespace {

// The sparse group lasso of Yue et al.: Adaptive optimizers with sparse group
// lasso for neural networks in CTR prediction, ECML PKDD 2021. A row is a
// group; its penalty at step t is
//   l1 |x|_1 + l21 sqrt(dim) |A^(1/2) x|_2 + l2 |x|_2^2
// where A = Q / 2 + l2 and Q the metric of the optimizer, a diagonal. Then
//   argmin z x + x Q x / 2 + penalty(x)
//     = max(1 - l21 sqrt(dim) / |A^(-1/2) s|_2, 0) (Q + 2 l2)^(-1) s
//   s = clip(z, -l1, l1) - z
// is their theorem 1. A step with a learning rate of 0 (or less) changes
// nothing.
class GroupLasso : public LoopOptimizer {
 public:
  using LoopOptimizer::LoopOptimizer;

  void Apply(const Step& step, int64_t dim, int n, float* const* weights,
             float* const* slots,
             const float* const* gradients) const override {
    if (!(step.learning_rate > 0.0f)) return;
    LoopOptimizer::Apply(step, dim, n, weights, slots, gradients);
  }
};

// Their group Adagrad, which without l21 is FTRL:
//   z += g - (sqrt(n + g^2) - sqrt(n)) / rate * weights
//   n += g^2
//   Q = (sqrt(n) + beta) / rate
class GroupFtrl : public GroupLasso {
 public:
  GroupFtrl(float initial_accumulator, float beta, float l1, float l2,
            float l21)
      : GroupLasso(GroupFtrlLoop, {initial_accumulator, 0.0f}, {l1, 0.0f, l21}),
        beta_(beta),
        l2_(l2) {}

  Step Prepare(float learning_rate, int64_t global_step) const override {
    Step step = LoopOptimizer::Prepare(learning_rate, global_step);
    step.scalars[2] = 2.0f * l2_ + beta_ / learning_rate;
    return step;
  }

 private:
  const float beta_;
  const float l2_;
};

}  // namespace

// The penalty with the composite mirror descent of Duchi, Hazan, Singer:
// Adaptive subgradient methods, JMLR 12 (2011), equation (4), which without a
// penalty is MakeAdagrad:
//   accumulator += g^2
//   Q = sqrt(accumulator + epsilon) / rate
//   z = g - Q weights
OptimizerPtr MakeGroupAdagrad(float initial_accumulator, float epsilon,
                              float l1, float l2, float l21) {
  return std::make_unique<GroupLasso>(
      GroupAdagradLoop, std::vector<float>{initial_accumulator},
      std::vector<float>{epsilon, l1, 2.0f * l2, l21});
}

OptimizerPtr MakeGroupFtrl(float initial_accumulator, float beta, float l1,
                           float l2, float l21) {
  return std::make_unique<GroupFtrl>(initial_accumulator, beta, l1, l2, l21);
}

}  // namespace monolith_tf
