// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"
#include "ops/cc/simd/row_sum.h"

namespace monolith_tf {
namespace {

struct AdagradRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], epsilon = scalars[1];
    float* __restrict accumulator = slots;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float g = gradient[j];
      const float sum = accumulator[j] + g * g;
      accumulator[j] = sum;
      weights[j] -= rate * g / __builtin_sqrtf(sum + epsilon);
    }
  }
};

struct RowWiseAdagradRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], epsilon = scalars[1];
    const float mean = SumOfSquares(dim, gradient) / static_cast<float>(dim);
    const float sum = slots[0] + mean;
    slots[0] = sum;
    const float row_rate = rate / __builtin_sqrtf(sum + epsilon);
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) weights[j] -= row_rate * gradient[j];
  }
};

}  // namespace

RowLoop AdagradLoop(InstructionSet set) {
  return RowLoopsOf<AdagradRule>::In(set);
}

RowLoop RowWiseAdagradLoop(InstructionSet set) {
  return RowLoopsOf<RowWiseAdagradRule>::In(set);
}

}  // namespace monolith_tf
