// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"

namespace monolith_tf {
namespace {

template <bool kMomentum, bool kCentered>
struct RmspropRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], epsilon = scalars[1];
    const float rho = scalars[2], complement = scalars[3];
    const float momentum = scalars[4];
    float* __restrict velocity = slots;
    float* __restrict moved = slots + dim;
    float* __restrict average = slots + (kMomentum ? 2 : 1) * dim;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float g = gradient[j];
      velocity[j] = rho * velocity[j] + complement * (g * g);
      float variance = velocity[j];
      if (kCentered) {
        average[j] = rho * average[j] + complement * g;
        // Never negative but by rounding.
        variance -= average[j] * average[j];
        variance = variance > 0.0f ? variance : 0.0f;
      }
      float step = rate * g / __builtin_sqrtf(variance + epsilon);
      if (kMomentum) {
        step += momentum * moved[j];
        moved[j] = step;
      }
      weights[j] -= step;
    }
  }
};

}  // namespace

RowLoop RmspropLoop(InstructionSet set) {
  return RowLoopsOf<RmspropRule<false, false>>::In(set);
}

RowLoop MomentumRmspropLoop(InstructionSet set) {
  return RowLoopsOf<RmspropRule<true, false>>::In(set);
}

RowLoop CenteredRmspropLoop(InstructionSet set) {
  return RowLoopsOf<RmspropRule<false, true>>::In(set);
}

RowLoop CenteredMomentumRmspropLoop(InstructionSet set) {
  return RowLoopsOf<RmspropRule<true, true>>::In(set);
}

}  // namespace monolith_tf
