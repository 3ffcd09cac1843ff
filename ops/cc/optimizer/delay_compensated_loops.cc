// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"

namespace monolith_tf {
namespace {

// The gradient at the row as it is, from the one at the row as it was: see
// MakeDelayCompensatedSgd. Bounded as gradients are, for the product is not.
static MONOLITH_INLINE float Compensated(float g, float lambda, float moved) {
  return loop_math::Clamped(g + lambda * g * g * moved, 0x1p48f);
}

struct SgdRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], lambda = scalars[1];
    float* __restrict backup = slots;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float w = weights[j];
      const float g = Compensated(gradient[j], lambda, w - backup[j]);
      backup[j] = w;
      weights[j] = w - rate * g;
    }
  }
};

struct AdagradRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], epsilon = scalars[1], lambda = scalars[2];
    float* __restrict accumulator = slots;
    float* __restrict backup = slots + dim;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float w = weights[j];
      const float g = Compensated(gradient[j], lambda, w - backup[j]);
      const float sum = accumulator[j] + g * g;
      accumulator[j] = sum;
      backup[j] = w;
      weights[j] = w - rate * g / __builtin_sqrtf(sum + epsilon);
    }
  }
};

}  // namespace

RowLoop DelayCompensatedSgdLoop(InstructionSet set) {
  return RowLoopsOf<SgdRule>::In(set);
}

RowLoop DelayCompensatedAdagradLoop(InstructionSet set) {
  return RowLoopsOf<AdagradRule>::In(set);
}

}  // namespace monolith_tf
