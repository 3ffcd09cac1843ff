// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"
#include "ops/cc/simd/row_sum.h"

namespace monolith_tf {
namespace {

struct RegularizeRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], weight_decay = scalars[1];
    const float twice_l2 = scalars[2], clip_value = scalars[3];
    float* __restrict clipped = slots;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float w = weights[j];
      clipped[j] = loop_math::Clamped(gradient[j] + twice_l2 * w, clip_value);
      weights[j] = w - w * weight_decay * rate;
    }
  }
};

struct ClipNormRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict, const float* __restrict,
                                   const float* scalars) {
    const float clip_norm = scalars[0];
    const float norm = __builtin_sqrtf(SumOfSquares(dim, weights));
    const float divisor = norm > clip_norm ? norm : clip_norm;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      weights[j] = weights[j] * clip_norm / divisor;
    }
  }
};

struct MaxNormRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict, const float* __restrict,
                                   const float* scalars) {
    const float max_norm = scalars[0];
    const float norm = __builtin_sqrtf(SumOfSquares(dim, weights));
    const float desired = norm < max_norm ? norm : max_norm;
    // With the epsilon of tf_keras.backend.
    const float scale = desired / (1e-7f + norm);
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) weights[j] *= scale;
  }
};

}  // namespace

RowLoop RegularizeLoop(InstructionSet set) {
  return RowLoopsOf<RegularizeRule>::In(set);
}

RowLoop ClipNormLoop(InstructionSet set) {
  return RowLoopsOf<ClipNormRule>::In(set);
}

RowLoop MaxNormLoop(InstructionSet set) {
  return RowLoopsOf<MaxNormRule>::In(set);
}

}  // namespace monolith_tf
