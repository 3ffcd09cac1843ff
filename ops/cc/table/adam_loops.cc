// No other include: see row_rule.h.
#include "ops/cc/table/row_rule.h"

namespace monolith_tf {
namespace {

struct AdamRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float alpha = scalars[0], epsilon = scalars[1];
    const float complement_1 = scalars[2], complement_2 = scalars[3];
    float* __restrict m = slots;
    float* __restrict v = slots + dim;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float g = gradient[j];
      m[j] += (g - m[j]) * complement_1;
      v[j] += (g * g - v[j]) * complement_2;
      weights[j] -= m[j] * alpha / (__builtin_sqrtf(v[j]) + epsilon);
    }
  }
};

}  // namespace

RowLoop AdamLoop(InstructionSet set) { return RowLoopsOf<AdamRule>::In(set); }

}  // namespace monolith_tf
