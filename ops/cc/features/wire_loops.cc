#include "ops/cc/features/wire_loops.h"

// No other include: see loop_math.h.
#include <stdint.h>

#include "ops/cc/simd/loop_math.h"

namespace monolith_tf {
namespace {

using loop_math::BitsOfFloat;
using loop_math::FloatOfBits;
using loop_math::kInfinity;
using loop_math::kSign;

MONOLITH_INLINE void Bfloat16(const float* __restrict floats, int64_t n,
                              uint16_t* __restrict halves) {
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < n; ++j) {
    const uint32_t bits = BitsOfFloat(floats[j]);
    const uint32_t size = bits & ~kSign;
    uint32_t half = (size + 0x7FFF + ((size >> 16) & 1)) >> 16;
    half = half < 0x7F7F ? half : 0x7F7F;
    half = size >= kInfinity ? 0x7F80 : half;
    half = size > kInfinity ? 0x7FC0 : half;
    halves[j] = static_cast<uint16_t>(half | ((bits & kSign) >> 16));
  }
}

MONOLITH_INLINE void Float16(const float* __restrict floats, int64_t n,
                             uint16_t* __restrict halves) {
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < n; ++j) {
    const uint32_t bits = BitsOfFloat(floats[j]);
    const uint32_t size = bits & ~kSign;
    // From the bias of the exponent of a float, 127, to that of a float16, 15.
    const uint32_t rounded = size + 0xFFF + ((size >> 13) & 1);
    uint32_t half = (rounded - (112u << 23)) >> 13;
    half = rounded < 0x47800000u ? half : 0x7BFF;
    half = size >= kInfinity ? 0x7C00 : half;
    half = size > kInfinity ? 0x7E00 : half;
    // Below 2^-14: whole steps of 2^-24, which the sum with 0.5 rounds to.
    const float small = FloatOfBits(size < 0x38800000u ? size : 0);
    const uint32_t steps = BitsOfFloat(small + 0.5f) - 0x3F000000u;
    half = size < 0x38800000u ? steps : half;
    halves[j] = static_cast<uint16_t>(half | ((bits & kSign) >> 16));
  }
}

// --- One body for each instruction set --------------------------------------

#define MONOLITH_LOOPS(Name, attributes)                         \
  attributes void Bfloat16##Name(const float* floats, int64_t n, \
                                 uint16_t* halves) {             \
    Bfloat16(floats, n, halves);                                 \
  }                                                              \
  attributes void Float16##Name(const float* floats, int64_t n,  \
                                uint16_t* halves) {              \
    Float16(floats, n, halves);                                  \
  }

MONOLITH_LOOPS(Portable, )
#if defined(__x86_64__)
MONOLITH_LOOPS(Avx2, __attribute__((target("avx2"))))
// BW has the 16-bit integers.
MONOLITH_LOOPS(Avx512, __attribute__((target("avx512f,avx512bw,avx512vl,"
                                             "prefer-vector-width=512"))))
#endif

NarrowLoop Choose(InstructionSet set, NarrowLoop portable, NarrowLoop avx2,
                  NarrowLoop avx512) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    return avx512;
  }
  if (set != InstructionSet::kPortable && __builtin_cpu_supports("avx2")) {
    return avx2;
  }
#endif
  (void)set;
  (void)avx2;
  (void)avx512;
  return portable;
}

}  // namespace

#if defined(__x86_64__)
NarrowLoop NarrowToBfloat16In(InstructionSet set) {
  return Choose(set, Bfloat16Portable, Bfloat16Avx2, Bfloat16Avx512);
}

NarrowLoop NarrowToFloat16In(InstructionSet set) {
  return Choose(set, Float16Portable, Float16Avx2, Float16Avx512);
}
#else
NarrowLoop NarrowToBfloat16In(InstructionSet set) {
  return Choose(set, Bfloat16Portable, nullptr, nullptr);
}

NarrowLoop NarrowToFloat16In(InstructionSet set) {
  return Choose(set, Float16Portable, nullptr, nullptr);
}
#endif

}  // namespace monolith_tf
