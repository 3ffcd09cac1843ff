// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"

namespace monolith_tf {
namespace {

struct FtrlRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], l1 = scalars[1];
    const float twice_l2 = scalars[2], twice_shrinkage = scalars[3];
    float* __restrict accumulator = slots;
    float* __restrict linear = slots + dim;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float w = weights[j];
      const float g = gradient[j];
      const float sum = accumulator[j] + g * g;
      const float root = __builtin_sqrtf(sum);
      const float growth = (root - __builtin_sqrtf(accumulator[j])) / rate;
      const float z = linear[j] + (g + twice_shrinkage * w - growth * w);
      accumulator[j] = sum;
      linear[j] = z;
      const float quadratic = root / rate + twice_l2;
      // 0 / 0 when no gradient but 0 came yet: tf_keras then makes a NaN.
      weights[j] = (Clamped(z, l1) - z) / (quadratic > 0.0f ? quadratic : 1.0f);
    }
  }
};

}  // namespace

RowLoop FtrlLoop(InstructionSet set) { return RowLoopsOf<FtrlRule>::In(set); }

}  // namespace monolith_tf
