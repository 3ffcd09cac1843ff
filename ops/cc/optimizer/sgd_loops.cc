// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"

namespace monolith_tf {
namespace {

struct SgdRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0];
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) weights[j] -= rate * gradient[j];
  }
};

template <bool kNesterov>
struct MomentumRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], momentum = scalars[1];
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float moved = slots[j] * momentum - rate * gradient[j];
      slots[j] = moved;
      weights[j] += kNesterov ? moved * momentum - rate * gradient[j] : moved;
    }
  }
};

struct MovingAverageRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float momentum = scalars[1], complement = scalars[2];
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      weights[j] = momentum * weights[j] + complement * gradient[j];
    }
  }
};

}  // namespace

RowLoop SgdLoop(InstructionSet set) { return RowLoopsOf<SgdRule>::In(set); }

RowLoop MomentumLoop(InstructionSet set) {
  return RowLoopsOf<MomentumRule<false>>::In(set);
}

RowLoop NesterovLoop(InstructionSet set) {
  return RowLoopsOf<MomentumRule<true>>::In(set);
}

RowLoop MovingAverageLoop(InstructionSet set) {
  return RowLoopsOf<MovingAverageRule>::In(set);
}

}  // namespace monolith_tf
