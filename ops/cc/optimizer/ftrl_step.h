// ftrl_step.h: the step of FTRL (ftrl.cc), for any power of the accumulator.

#ifndef MONOLITH_TF_OPS_CC_OPTIMIZER_FTRL_STEP_H_
#define MONOLITH_TF_OPS_CC_OPTIMIZER_FTRL_STEP_H_

#include <stdint.h>

#include "ops/cc/simd/loop_math.h"

namespace monolith_tf {

// Steps one row. power(n) is n^(-learning_rate_power). Slots and scalars are
// those of FtrlLoop (row_loops.h).
template <typename Power>
static MONOLITH_INLINE void FtrlStep(int64_t dim, float* __restrict weights,
                                     float* __restrict slots,
                                     const float* __restrict gradient,
                                     const float* scalars, const Power& power) {
  const float rate = scalars[0], l1 = scalars[1];
  const float twice_l2 = scalars[2], twice_shrinkage = scalars[3];
  float* __restrict accumulator = slots;
  float* __restrict linear = slots + dim;
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const float w = weights[j];
    const float g = gradient[j];
    const float sum = accumulator[j] + g * g;
    const float root = power(sum);
    const float growth = (root - power(accumulator[j])) / rate;
    const float z = linear[j] + (g + twice_shrinkage * w - growth * w);
    accumulator[j] = sum;
    linear[j] = z;
    const float quadratic = root / rate + twice_l2;
    // 0 / 0 as long as all gradients were 0: tf_keras then makes a NaN.
    weights[j] =
        (loop_math::Clamped(z, l1) - z) / (quadratic > 0.0f ? quadratic : 1.0f);
  }
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_OPTIMIZER_FTRL_STEP_H_
