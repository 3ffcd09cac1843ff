// No other include: see row_rule.h.
#include "ops/cc/optimizer/ftrl_step.h"
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"

namespace monolith_tf {
namespace {

struct FtrlRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    FtrlStep(dim, weights, slots, gradient, scalars,
             [](float n)
                 __attribute__((always_inline)) { return __builtin_sqrtf(n); });
  }
};

}  // namespace

RowLoop FtrlLoop(InstructionSet set) { return RowLoopsOf<FtrlRule>::In(set); }

}  // namespace monolith_tf
