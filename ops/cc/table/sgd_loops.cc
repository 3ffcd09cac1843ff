// No other include: see row_rule.h.
#include "ops/cc/table/row_rule.h"

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

}  // namespace

RowLoop SgdLoop(InstructionSet set) { return RowLoopsOf<SgdRule>::In(set); }

}  // namespace monolith_tf
