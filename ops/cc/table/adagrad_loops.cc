// No other include: see row_rule.h.
#include "ops/cc/table/row_rule.h"

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

}  // namespace

RowLoop AdagradLoop(InstructionSet set) {
  return RowLoopsOf<AdagradRule>::In(set);
}

}  // namespace monolith_tf
