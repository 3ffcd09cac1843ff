// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"
#include "ops/cc/simd/row_sum.h"

namespace monolith_tf {
namespace {

// Replaces u by the x that minimizes
//   -u x + x A x + l1 |x|_1 + l21 sqrt(dim) |A^(1/2) x|_2
// where 2 A = diag(sqrt(accumulator + epsilon) / rate + twice_l2): with s =
// max(|u| - l1, 0) sign(u) that is
//   x = max(1 - l21 sqrt(dim) / |A^(-1/2) s|_2, 0) (2 A)^(-1) s
static MONOLITH_INLINE void Minimize(int64_t dim, float* __restrict u,
                                     const float* __restrict accumulator,
                                     float rate, float epsilon, float l1,
                                     float twice_l2, float l21) {
  // (2 A)^(-1) s, and the square of |A^(-1/2) s| / sqrt(2). Where A is 0
  // no gradient but 0 came yet, and s is 0 too.
  const float half_norm =
      SumOverRow(dim, [=](int64_t j) __attribute__((always_inline)) {
        const float s = u[j] - loop_math::Clamped(u[j], l1);
        const float a =
            __builtin_sqrtf(accumulator[j] + epsilon) / rate + twice_l2;
        const float x = s / (a > 0.0f ? a : 1.0f);
        u[j] = x;
        return s * x;
      });
  const float norm = __builtin_sqrtf(2.0f * half_norm);
  const float threshold = l21 * __builtin_sqrtf(static_cast<float>(dim));
  const float scale = norm > threshold ? 1.0f - threshold / norm : 0.0f;
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) u[j] *= scale;
}

struct GroupAdagradRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0], epsilon = scalars[1];
    float* __restrict accumulator = slots;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float g = gradient[j];
      const float sum = accumulator[j] + g * g;
      accumulator[j] = sum;
      // The dual of the row, for the time being.
      weights[j] = __builtin_sqrtf(sum + epsilon) / rate * weights[j] - g;
    }
    Minimize(dim, weights, accumulator, rate, epsilon, scalars[2], scalars[3],
             scalars[4]);
  }
};

struct GroupFtrlRule {
  static MONOLITH_INLINE void Step(int64_t dim, float* __restrict weights,
                                   float* __restrict slots,
                                   const float* __restrict gradient,
                                   const float* scalars) {
    const float rate = scalars[0];
    float* __restrict accumulator = slots;
    float* __restrict linear = slots + dim;
    MONOLITH_ROW_LOOP
    for (int64_t j = 0; j < dim; ++j) {
      const float g = gradient[j];
      const float sum = accumulator[j] + g * g;
      const float growth =
          (__builtin_sqrtf(sum) - __builtin_sqrtf(accumulator[j])) / rate;
      accumulator[j] = sum;
      linear[j] += g - growth * weights[j];
      weights[j] = -linear[j];
    }
    Minimize(dim, weights, accumulator, rate, 0.0f, scalars[1], scalars[2],
             scalars[3]);
  }
};

}  // namespace

RowLoop GroupAdagradLoop(InstructionSet set) {
  return RowLoopsOf<GroupAdagradRule>::In(set);
}

RowLoop GroupFtrlLoop(InstructionSet set) {
  return RowLoopsOf<GroupFtrlRule>::In(set);
}

}  // namespace monolith_tf
