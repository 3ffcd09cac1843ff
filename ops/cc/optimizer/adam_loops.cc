// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"

namespace monolith_tf {
namespace {

template <bool kAmsgrad>
struct AdamRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float alpha = scalars[0], epsilon = scalars[1];
    const float complement_1 = scalars[2], complement_2 = scalars[3];
    float* __restrict m = slots;
    float* __restrict v = slots + dim;
    float* __restrict v_hat = slots + 2 * dim;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float g = gradient[j];
      m[j] += (g - m[j]) * complement_1;
      float squares = v[j] + (g * g - v[j]) * complement_2;
      v[j] = squares;
      if (kAmsgrad) {
        squares = squares > v_hat[j] ? squares : v_hat[j];
        v_hat[j] = squares;
      }
      weights[j] -= m[j] * alpha / (__builtin_sqrtf(squares) + epsilon);
    }
  }
};

}  // namespace

RowLoop AdamLoop(InstructionSet set) {
  return RowLoopsOf<AdamRule<false>>::In(set);
}

RowLoop AmsgradLoop(InstructionSet set) {
  return RowLoopsOf<AdamRule<true>>::In(set);
}

}  // namespace monolith_tf
