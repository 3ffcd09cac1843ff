#include "ops/cc/table/row_loops.h"

// No other include: see the header.
#include <stdint.h>

namespace monolith_tf {
namespace {

#define MONOLITH_INLINE inline __attribute__((always_inline))

MONOLITH_INLINE void StepAdagrad(int64_t dim, int n, float* const* rows,
                                 const float* const* gradients, float rate,
                                 float epsilon) {
  for (int i = 0; i < n; ++i) {
    float* __restrict weights = rows[i];
    float* __restrict accumulator = rows[i] + dim;
    const float* __restrict gradient = gradients[i];
    // Unrolled whole, dim 16 would be left as scalars.
#pragma GCC unroll 1
    for (int64_t j = 0; j < dim; ++j) {
      const float g = gradient[j];
      const float sum = accumulator[j] + g * g;
      accumulator[j] = sum;
      weights[j] -= rate * g / __builtin_sqrtf(sum + epsilon);
    }
  }
}

MONOLITH_INLINE void StepAdam(int64_t dim, int n, float* const* rows,
                              const float* const* gradients, float alpha,
                              float complement_1, float complement_2,
                              float epsilon) {
  for (int i = 0; i < n; ++i) {
    float* __restrict weights = rows[i];
    float* __restrict m = rows[i] + dim;
    float* __restrict v = rows[i] + 2 * dim;
    const float* __restrict gradient = gradients[i];
#pragma GCC unroll 1
    for (int64_t j = 0; j < dim; ++j) {
      const float g = gradient[j];
      m[j] += (g - m[j]) * complement_1;
      v[j] += (g * g - v[j]) * complement_2;
      weights[j] -= m[j] * alpha / (__builtin_sqrtf(v[j]) + epsilon);
    }
  }
}

// The two loops for one instruction set.
#define MONOLITH_LOOPS(Name, attributes)                                     \
  attributes void Adagrad##Name(int64_t dim, int n, float* const* rows,      \
                                const float* const* gradients, float rate,   \
                                float epsilon) {                             \
    if (dim == 16) {                                                         \
      StepAdagrad(16, n, rows, gradients, rate, epsilon);                    \
    } else {                                                                 \
      StepAdagrad(dim, n, rows, gradients, rate, epsilon);                   \
    }                                                                        \
  }                                                                          \
  attributes void Adam##Name(                                                \
      int64_t dim, int n, float* const* rows, const float* const* gradients, \
      float alpha, float complement_1, float complement_2, float epsilon) {  \
    if (dim == 16) {                                                         \
      StepAdam(16, n, rows, gradients, alpha, complement_1, complement_2,    \
               epsilon);                                                     \
    } else {                                                                 \
      StepAdam(dim, n, rows, gradients, alpha, complement_1, complement_2,   \
               epsilon);                                                     \
    }                                                                        \
  }

MONOLITH_LOOPS(Portable, )
#if defined(__x86_64__)
MONOLITH_LOOPS(Avx2, __attribute__((target("avx2"))))
MONOLITH_LOOPS(Avx512,
               __attribute__((target("avx512f,prefer-vector-width=512"))))
#endif

}  // namespace

InstructionSet WidestInstructionSet() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return InstructionSet::kAvx512;
  if (__builtin_cpu_supports("avx2")) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kPortable;
}

AdagradLoop AdagradLoopIn(InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512) return AdagradAvx512;
  if (set == InstructionSet::kAvx2) return AdagradAvx2;
#endif
  (void)set;
  return AdagradPortable;
}

AdamLoop AdamLoopIn(InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512) return AdamAvx512;
  if (set == InstructionSet::kAvx2) return AdamAvx2;
#endif
  (void)set;
  return AdamPortable;
}

}  // namespace monolith_tf
