// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"

namespace monolith_tf {
namespace {

struct AdadeltaRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], epsilon = scalars[1];
    const float rho = scalars[2], complement = scalars[3];
    float* __restrict squares = slots;
    float* __restrict deltas = slots + dim;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float g = gradient[j];
      squares[j] = rho * squares[j] + complement * g * g;
      const float delta = -__builtin_sqrtf(deltas[j] + epsilon) * g /
                          __builtin_sqrtf(squares[j] + epsilon);
      deltas[j] = rho * deltas[j] + complement * delta * delta;
      weights[j] += rate * delta;
    }
  }
};

}  // namespace

RowLoop AdadeltaLoop(InstructionSet set) {
  return RowLoopsOf<AdadeltaRule>::In(set);
}

}  // namespace monolith_tf
