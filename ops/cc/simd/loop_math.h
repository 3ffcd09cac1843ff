// loop_math.h
//
// What the loops over rows share: bits of numbers, random bits, macros.
//
// A file with code for instructions that a machine may not have includes only
// <stdint.h> and headers like this one: all functions here are inlined and have
// internal linkage, so none can be compiled for such a machine and then be
// linked for all. tests/repo/layering_test.py checks the includes.

#ifndef MONOLITH_TF_OPS_CC_SIMD_LOOP_MATH_H_
#define MONOLITH_TF_OPS_CC_SIMD_LOOP_MATH_H_

#include <stdint.h>

#define MONOLITH_INLINE inline __attribute__((always_inline))

// Before a loop over [dim]: unrolled whole, dim 16 would be left as scalars.
#define MONOLITH_ROW_LOOP _Pragma("GCC unroll 1")

namespace monolith_tf {
namespace loop_math {

// --- Random bits: see hash.h, which names them for all other code -----------

// The finalizer of splitmix64.
static MONOLITH_INLINE uint64_t Mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

constexpr uint64_t kGamma = 0x9E3779B97F4A7C15ULL;

static MONOLITH_INLINE uint64_t ElementBits(uint64_t key, uint64_t j) {
  return Mix64(key + (j + 1) * kGamma);
}

// --- Bits of floats and doubles ---------------------------------------------

constexpr uint32_t kSign = 0x80000000u;
constexpr uint32_t kInfinity = 0x7F800000u;
constexpr uint64_t kDoubleSign = 0x8000000000000000ULL;

static MONOLITH_INLINE float FloatOfBits(uint32_t bits) {
  float number;
  __builtin_memcpy(&number, &bits, sizeof(number));
  return number;
}

static MONOLITH_INLINE uint32_t BitsOfFloat(float number) {
  uint32_t bits;
  __builtin_memcpy(&bits, &number, sizeof(bits));
  return bits;
}

static MONOLITH_INLINE double DoubleOfBits(uint64_t bits) {
  double number;
  __builtin_memcpy(&number, &bits, sizeof(number));
  return number;
}

static MONOLITH_INLINE uint64_t BitsOfDouble(double number) {
  uint64_t bits;
  __builtin_memcpy(&bits, &number, sizeof(bits));
  return bits;
}

// --- Floats -----------------------------------------------------------------

// x clipped to [-limit, limit].
static MONOLITH_INLINE float Clamped(float x, float limit) {
  const float low = x > limit ? limit : x;
  return low < -limit ? -limit : low;
}

}  // namespace loop_math
}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_SIMD_LOOP_MATH_H_
