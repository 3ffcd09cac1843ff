#include "ops/cc/precision/precision_loops.h"

// No other include: see loop_math.h.
#include <stdint.h>

#include "ops/cc/simd/loop_math.h"

namespace monolith_tf {
namespace {

using loop_math::BitsOfDouble;
using loop_math::BitsOfFloat;
using loop_math::DoubleOfBits;
using loop_math::ElementBits;
using loop_math::FloatOfBits;
using loop_math::kDoubleSign;
using loop_math::kInfinity;
using loop_math::kSign;

// 16 bits of memory that may hold anything.
using Half = uint16_t __attribute__((may_alias));

// --- bfloat16: the upper half of a float ------------------------------------

MONOLITH_INLINE void DecodeBfloat16(const char* stored, int64_t dim, float,
                                    float* __restrict weights) {
  const Half* halves = reinterpret_cast<const Half*>(stored);
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    weights[j] = FloatOfBits(static_cast<uint32_t>(halves[j]) << 16);
  }
}

MONOLITH_INLINE void EncodeBfloat16(const float* __restrict weights,
                                    int64_t dim, uint64_t key, float,
                                    char* stored) {
  Half* __restrict halves = reinterpret_cast<Half*>(stored);
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const auto random = static_cast<uint32_t>(ElementBits(key, j) >> 48);
    const uint32_t bits = BitsOfFloat(weights[j]);
    const uint32_t size = bits & ~kSign;
    uint32_t half = (size + random) >> 16;
    half = half < 0x7F7F ? half : 0x7F7F;
    half = size > kInfinity ? 0x7FC0 : half;
    halves[j] = static_cast<uint16_t>(half | ((bits & kSign) >> 16));
  }
}

// --- float16 ----------------------------------------------------------------

MONOLITH_INLINE void DecodeFloat16(const char* stored, int64_t dim, float,
                                   float* __restrict weights) {
  const Half* halves = reinterpret_cast<const Half*>(stored);
  // From the bias of the exponent of a float16, 15, to that of a float, 127.
  constexpr uint32_t kRebias = 112u << 23;
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const uint32_t half = halves[j];
    const uint32_t size = half & 0x7FFF;
    uint32_t normal = (size << 13) + kRebias;
    normal += size >= 0x7C00 ? kRebias : 0;
    normal |= size > 0x7C00 ? 0x00400000u : 0;
    // Subnormal: a number of steps of 2^-24, which is a normal float.
    const float steps = static_cast<float>(static_cast<int32_t>(size));
    const uint32_t subnormal = BitsOfFloat(steps * 0x1p-24f);
    const uint32_t mask = size < 0x0400 ? ~0u : 0u;
    const uint32_t bits = (subnormal & mask) | (normal & ~mask);
    weights[j] = FloatOfBits(bits | ((half & 0x8000) << 16));
  }
}

MONOLITH_INLINE void EncodeFloat16(const float* __restrict weights, int64_t dim,
                                   uint64_t key, float, char* stored) {
  Half* __restrict halves = reinterpret_cast<Half*>(stored);
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const auto random = static_cast<uint32_t>(ElementBits(key, j) >> 32);
    const uint32_t bits = BitsOfFloat(weights[j]);
    const uint32_t size = bits & ~kSign;
    const auto exponent = static_cast<int32_t>(size >> 23);
    uint32_t significand =
        (size & 0x007FFFFFu) | (exponent > 0 ? 0x00800000u : 0u);
    // The significand has this many bits below the last one of the float16:
    // 13, or more where the float16 is subnormal. Beyond 31 bits, what is cut
    // off first is below 2^-31 of a step.
    int32_t below = 126 - exponent;
    below = below > 13 ? below : 13;
    int32_t cut = below - 31;
    cut = cut > 0 ? cut : 0;
    below -= cut;
    significand >>= cut < 31 ? cut : 31;
    significand += random & ((1u << below) - 1);
    // A normal significand brings the last bit of its exponent along.
    int32_t base = exponent - 113;
    base = base > 0 ? base : 0;
    uint32_t half =
        (significand >> below) + (static_cast<uint32_t>(base) << 10);
    half = half < 0x7BFF ? half : 0x7BFF;
    half = size > kInfinity ? 0x7E00 : half;
    halves[j] = static_cast<uint16_t>(half | ((bits & kSign) >> 16));
  }
}

// --- int8: -127 .. 127 steps ------------------------------------------------

MONOLITH_INLINE void DecodeInt8(const char* stored, int64_t dim, float step,
                                float* __restrict weights) {
  const auto* levels = reinterpret_cast<const signed char*>(stored);
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    weights[j] = static_cast<float>(static_cast<int32_t>(levels[j])) * step;
  }
}

MONOLITH_INLINE void EncodeInt8(const float* __restrict weights, int64_t dim,
                                uint64_t key, float step, char* stored) {
  auto* __restrict levels = reinterpret_cast<signed char*>(stored);
  const uint32_t limit_bits = BitsOfFloat(127.0f * step);
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const auto random = static_cast<int32_t>(ElementBits(key, j) >> 40);
    const uint32_t bits = BitsOfFloat(weights[j]);
    const uint32_t size_bits = bits & ~kSign;
    const float size =
        FloatOfBits(size_bits < limit_bits ? size_bits : limit_bits);
    // The quotient may be the level next to the one right below; a level that
    // is met exactly must be found exactly.
    auto level = static_cast<int32_t>(size / step);
    level -= static_cast<float>(level) * step > size;
    level += static_cast<float>(level + 1) * step <= size;
    const float lower = static_cast<float>(level) * step;
    const float upper = static_cast<float>(level + 1) * step;
    const float part = (size - lower) / (upper - lower);
    level += random < static_cast<int32_t>(part * 0x1p24f);
    // No branch, or the loop is no vector loop: 0 for what is not a number,
    // and the sign.
    level &= -static_cast<int32_t>(size_bits <= kInfinity);
    const int32_t sign = static_cast<int32_t>(bits) >> 31;
    levels[j] = static_cast<signed char>((level ^ sign) - sign);
  }
}

// --- tanh -------------------------------------------------------------------

// (2^f - 1) / f, lowest power first: a Chebyshev fit over |f| <= 0.5, relative
// error 2e-10.
constexpr double kPowerR[7] = {0.69314718055994531,   0.24022650922288758,
                               0.055504108839096184,  0.0096180566785246381,
                               0.0013333502386162771, 0.00015461444698569129,
                               1.5297323760701074e-5};

// exp(-2 x) for 0 <= x <= 40.
MONOLITH_INLINE double ExpOfMinusTwice(double x) {
  const double y = x * -2.8853900817779268;
  // Adding 1.5 * 2^52 rounds to an integer, which is then in the lowest bits.
  const double shifted = y + 0x1.8p52;
  const double f = y - (shifted - 0x1.8p52);
  double r = kPowerR[6];
#pragma GCC unroll 8
  for (int i = 5; i >= 0; --i) r = r * f + kPowerR[i];
  return (1 + f * r) * DoubleOfBits((BitsOfDouble(shifted) + 1023) << 52);
}

MONOLITH_INLINE double SizeUpTo40(double x) {
  constexpr int64_t k40 = 0x4044000000000000LL;
  const auto bits = static_cast<int64_t>(BitsOfDouble(x) & ~kDoubleSign);
  return DoubleOfBits(static_cast<uint64_t>(bits < k40 ? bits : k40));
}

MONOLITH_INLINE void Tanh(const float* weights, int64_t dim, double slope,
                          float height, float* out) {
#pragma GCC ivdep
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const double x = slope * static_cast<double>(weights[j]);
    const double e = ExpOfMinusTwice(SizeUpTo40(x));
    const double t = (1 - e) / (1 + e);
    const uint64_t sign = BitsOfDouble(x) & kDoubleSign;
    out[j] = height * static_cast<float>(DoubleOfBits(BitsOfDouble(t) | sign));
  }
}

MONOLITH_INLINE void TanhGradient(const float* weights, int64_t dim,
                                  double slope, float height, float* out) {
  const double factor = 4 * slope * static_cast<double>(height);
#pragma GCC ivdep
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const double x = slope * static_cast<double>(weights[j]);
    const double e = ExpOfMinusTwice(SizeUpTo40(x));
    const double derivative = factor * e / ((1 + e) * (1 + e));
    out[j] *= static_cast<float>(derivative);
  }
}

// --- One body for each instruction set --------------------------------------

// A known dim needs no scalar rest.
#define MONOLITH_DECODE(Decode, Name, attributes)                           \
  attributes void Decode##Name(const char* stored, int64_t dim, float step, \
                               float* weights) {                            \
    if (dim == 16) {                                                        \
      Decode(stored, 16, step, weights);                                    \
    } else {                                                                \
      Decode(stored, dim, step, weights);                                   \
    }                                                                       \
  }
#define MONOLITH_ENCODE(Encode, Name, attributes)                        \
  attributes void Encode##Name(const float* weights, int64_t dim,        \
                               uint64_t key, float step, char* stored) { \
    if (dim == 16) {                                                     \
      Encode(weights, 16, key, step, stored);                            \
    } else {                                                             \
      Encode(weights, dim, key, step, stored);                           \
    }                                                                    \
  }
#define MONOLITH_TANH(Loop, Name, attributes)                                 \
  attributes void Loop##Name(const float* weights, int64_t dim, double slope, \
                             float height, float* out) {                      \
    Loop(weights, dim, slope, height, out);                                   \
  }
#define MONOLITH_LOOPS(Name, attributes)            \
  MONOLITH_DECODE(DecodeBfloat16, Name, attributes) \
  MONOLITH_ENCODE(EncodeBfloat16, Name, attributes) \
  MONOLITH_DECODE(DecodeFloat16, Name, attributes)  \
  MONOLITH_ENCODE(EncodeFloat16, Name, attributes)  \
  MONOLITH_DECODE(DecodeInt8, Name, attributes)     \
  MONOLITH_ENCODE(EncodeInt8, Name, attributes)     \
  MONOLITH_TANH(Tanh, Name, attributes)             \
  MONOLITH_TANH(TanhGradient, Name, attributes)

MONOLITH_LOOPS(Portable, )
#if defined(__x86_64__)
MONOLITH_LOOPS(Avx2, __attribute__((target("avx2"))))
// BW has the 16-bit integers, DQ the 64-bit product.
MONOLITH_LOOPS(Avx512,
               __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,"
                                     "prefer-vector-width=512"))))
#endif

template <typename Loops>
Loops Choose(InstructionSet set, Loops portable, Loops avx2, Loops avx512) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") &&
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

#if defined(__x86_64__)
#define MONOLITH_LOOPS_IN(set, Kind)                                          \
  Choose(set, PrecisionLoops{Decode##Kind##Portable, Encode##Kind##Portable}, \
         PrecisionLoops{Decode##Kind##Avx2, Encode##Kind##Avx2},              \
         PrecisionLoops{Decode##Kind##Avx512, Encode##Kind##Avx512})
#define MONOLITH_TANH_IN(set, Loop) \
  Choose<TanhLoop>(set, Loop##Portable, Loop##Avx2, Loop##Avx512)
#else
#define MONOLITH_LOOPS_IN(set, Kind)                                          \
  Choose(set, PrecisionLoops{Decode##Kind##Portable, Encode##Kind##Portable}, \
         PrecisionLoops{}, PrecisionLoops{})
#define MONOLITH_TANH_IN(set, Loop) \
  Choose<TanhLoop>(set, Loop##Portable, nullptr, nullptr)
#endif

}  // namespace

PrecisionLoops Bfloat16LoopsIn(InstructionSet set) {
  return MONOLITH_LOOPS_IN(set, Bfloat16);
}

PrecisionLoops Float16LoopsIn(InstructionSet set) {
  return MONOLITH_LOOPS_IN(set, Float16);
}

PrecisionLoops Int8LoopsIn(InstructionSet set) {
  return MONOLITH_LOOPS_IN(set, Int8);
}

TanhLoop TanhLoopIn(InstructionSet set) { return MONOLITH_TANH_IN(set, Tanh); }

TanhLoop TanhGradientLoopIn(InstructionSet set) {
  return MONOLITH_TANH_IN(set, TanhGradient);
}

}  // namespace monolith_tf
