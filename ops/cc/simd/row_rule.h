// row_rule.h
//
// Makes the RowLoops of an update rule: a struct in an unnamed namespace with
//
//   static void Step(int64_t dim, float* __restrict weights,
//                    float* __restrict slots,
//                    const float* __restrict gradient, const float* scalars)
//
// marked MONOLITH_INLINE. It is compiled once per instruction set. A file that
// uses this header has code for instructions that a machine may not have, so
// it may include only headers without external inline functions: see
// loop_math.h.

#ifndef MONOLITH_TF_OPS_CC_SIMD_ROW_RULE_H_
#define MONOLITH_TF_OPS_CC_SIMD_ROW_RULE_H_

#include <stdint.h>

#include "ops/cc/simd/instruction_set.h"
#include "ops/cc/simd/loop_math.h"
#include "ops/cc/simd/row_loop.h"

// Nothing reads floating-point exceptions, so both sides of a choice may be
// computed. Without this, g++ does not vectorize loops with a choice.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

namespace monolith_tf {

template <typename Rule>
class RowLoopsOf {
 public:
  static RowLoop In(InstructionSet set) {
#if defined(__x86_64__)
    if (set == InstructionSet::kAvx512) return Avx512;
    if (set == InstructionSet::kAvx2) return Avx2;
#endif
    (void)set;
    return Portable;
  }

 private:
  static void Portable(int64_t dim, int n, float* const* weights,
                       float* const* slots, const float* const* gradients,
                       const float* scalars) {
    Steps(dim, n, weights, slots, gradients, scalars);
  }

#if defined(__x86_64__)
  __attribute__((target("avx2"))) static void Avx2(
      int64_t dim, int n, float* const* weights, float* const* slots,
      const float* const* gradients, const float* scalars) {
    Steps(dim, n, weights, slots, gradients, scalars);
  }

  __attribute__((target("avx512f,prefer-vector-width=512"))) static void Avx512(
      int64_t dim, int n, float* const* weights, float* const* slots,
      const float* const* gradients, const float* scalars) {
    Steps(dim, n, weights, slots, gradients, scalars);
  }
#endif

  static MONOLITH_INLINE void Steps(int64_t dim, int n, float* const* weights,
                                    float* const* slots,
                                    const float* const* gradients,
                                    const float* scalars) {
    // Dim 16, known to the compiler, is one AVX-512 register.
    if (dim == 16) {
      for (int i = 0; i < n; ++i) {
        Rule::Step(16, weights[i], slots[i], gradients[i], scalars);
      }
    } else {
      for (int i = 0; i < n; ++i) {
        Rule::Step(dim, weights[i], slots[i], gradients[i], scalars);
      }
    }
  }
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_SIMD_ROW_RULE_H_
