// No other include: see row_rule.h.
#include "ops/cc/optimizer/row_loops.h"
#include "ops/cc/simd/row_rule.h"

namespace monolith_tf {
namespace {

MONOLITH_INLINE bool AreBounded(int64_t n, const float* floats) {
  // Not the number of failures: an int counter would need wider lanes.
  uint32_t outside = 0;
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < n; ++j) {
    // False for NaN too.
    const bool inside = __builtin_fabsf(floats[j]) <= 0x1p48f;
    outside |= inside ? 0u : 1u;
  }
  return outside == 0;
}

bool Portable(int64_t n, const float* floats) { return AreBounded(n, floats); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) bool Avx2(int64_t n, const float* floats) {
  return AreBounded(n, floats);
}

__attribute__((target("avx512f,prefer-vector-width=512"))) bool Avx512(
    int64_t n, const float* floats) {
  return AreBounded(n, floats);
}
#endif

}  // namespace

BoundedLoop FiniteAndBoundedLoop(InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512) return Avx512;
  if (set == InstructionSet::kAvx2) return Avx2;
#endif
  (void)set;
  return Portable;
}

}  // namespace monolith_tf
