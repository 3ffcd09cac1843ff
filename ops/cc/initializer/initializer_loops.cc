#include "ops/cc/initializer/initializer_loops.h"

// No other include: see loop_math.h.
#include <stdint.h>

#include "ops/cc/simd/loop_math.h"

namespace monolith_tf {
namespace {

using loop_math::BitsOfDouble;
using loop_math::DoubleOfBits;
using loop_math::kGamma;
using loop_math::Mix64;

template <int n>
MONOLITH_INLINE double Polynomial(const double (&coefficients)[n], double x) {
  double value = coefficients[n - 1];
#pragma GCC unroll 8
  for (int i = n - 2; i >= 0; --i) value = value * x + coefficients[i];
  return value;
}

// Coefficients of the quantiles, lowest power first.
//
// The middle: z(q) = q * P(q^2) / Q(q^2), a minimax fit (weighted linear least
// squares, reweighted) over |q| <= kTwoDeviationsProbability / 2.
constexpr double kMiddleP[6] = {2.5066279562704885, -27.112432749290186,
                                102.27837891812257, -151.18237307332038,
                                59.37191413182662,  11.360805511130538};
constexpr double kMiddleQ[5] = {1.0, -11.863510035823364, 50.92438607034864,
                                -92.58369218676437, 58.878065804022434};

// The whole: z(q) = q * P(w) / Q(w), where w = -ln(1 - 4 q^2) turns the tails
// into a slow, smooth growth. The same kind of fit, of the relative error, over
// 0 <= w <= ln(2^51).
constexpr double kWholeP[8] = {2.5066282843981768,    1.0691246082767876,
                               0.24554757150003388,   0.038570856582715052,
                               0.0042460672439788707, 0.00031021888602792967,
                               1.4836001935722451e-5, 1.2781085962606969e-7};
constexpr double kWholeQ[8] = {1.0,
                               0.16471976102749673,
                               0.041802948517557052,
                               0.0049334791345231419,
                               0.00043432794962304143,
                               2.8122674400178293e-5,
                               6.5170670017955214e-7,
                               1.3420101783221031e-9};
constexpr double kLn2 = 0.69314718055994531;
constexpr double kSqrt2 = 1.4142135623730951;
// ln((1 + s) / (1 - s)) = s * A(s^2), a Chebyshev fit over 1 / sqrt(2) <=
// (1 + s) / (1 - s) <= sqrt(2); absolute error 2e-12.
constexpr double kLogarithmA[5] = {2.0000000000083638, 0.66666665246910809,
                                   0.40000384790114789, 0.28535043563132331,
                                   0.23616504319719359};

MONOLITH_INLINE double MiddleQuantile(double q) {
  const double square = q * q;
  return q * Polynomial(kMiddleP, square) / Polynomial(kMiddleQ, square);
}

MONOLITH_INLINE double WholeQuantile(double q) {
  const double size = q < 0 ? -q : q;
  const double y = 4 * (0.5 - size) * (0.5 + size);
  // y = m * 2^exponent with 1 <= m < 2. Behind the bits of 2^52, an integer
  // below 2^52 is a double, exactly.
  const uint64_t bits = BitsOfDouble(y);
  const double exponent =
      DoubleOfBits((bits >> 52) | 0x4330000000000000ULL) - (0x1p52 + 1023);
  const double m =
      DoubleOfBits((bits & 0x000FFFFFFFFFFFFFULL) | 0x3FF0000000000000ULL);
  const double s = (m - kSqrt2) / (m + kSqrt2);
  const double w =
      -kLn2 * (exponent + 0.5) - s * Polynomial(kLogarithmA, s * s);
  return q * Polynomial(kWholeP, w) / Polynomial(kWholeQ, w);
}

// The middle of one of 2^52 equal parts of (0, 1), less 0.5.
MONOLITH_INLINE double CenteredProbability(uint64_t bits) {
  const double part = DoubleOfBits((bits >> 12) | 0x3FF0000000000000ULL) - 1;
  return (part + 0x1p-53) - 0.5;
}

// The bits of element j of an initial row, ElementBits in hash.h, with
// first = id_key + (first_element + 1) * kGamma.
MONOLITH_INLINE uint64_t BitsOf(uint64_t first, int64_t j) {
  return Mix64(first + static_cast<uint64_t>(j) * kGamma);
}

MONOLITH_INLINE void FillUniform(uint64_t first, int64_t dim, float location,
                                 float scale, float* __restrict row) {
  // 24 random bits fit a float exactly, so only the last two operations round.
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const uint64_t bits = BitsOf(first, j);
    const auto top = static_cast<int32_t>(bits >> 40);
    row[j] = location + static_cast<float>(top) * 0x1p-24f * scale;
  }
}

MONOLITH_INLINE void FillNormal(uint64_t first, int64_t dim, float location,
                                float scale, float* __restrict row) {
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const uint64_t bits = BitsOf(first, j);
    const double z = WholeQuantile(CenteredProbability(bits));
    row[j] = location + scale * static_cast<float>(z);
  }
}

MONOLITH_INLINE void FillTruncatedNormal(uint64_t first, int64_t dim,
                                         float location, float scale,
                                         float* __restrict row) {
  MONOLITH_ROW_LOOP
  for (int64_t j = 0; j < dim; ++j) {
    const uint64_t bits = BitsOf(first, j);
    const double q = CenteredProbability(bits) * kTwoDeviationsProbability;
    row[j] = location + scale * static_cast<float>(MiddleQuantile(q));
  }
}

// One loop for one instruction set. A known dim needs no scalar rest.
#define MONOLITH_LOOP(Fill, Name, attributes)                          \
  attributes void Fill##Name(uint64_t id_key, int64_t first_element,   \
                             int64_t dim, float location, float scale, \
                             float* row) {                             \
    const uint64_t first =                                             \
        id_key + (static_cast<uint64_t>(first_element) + 1) * kGamma;  \
    if (dim == 16) {                                                   \
      Fill(first, 16, location, scale, row);                           \
    } else {                                                           \
      Fill(first, dim, location, scale, row);                          \
    }                                                                  \
  }
#define MONOLITH_LOOPS(Name, attributes)       \
  MONOLITH_LOOP(FillUniform, Name, attributes) \
  MONOLITH_LOOP(FillNormal, Name, attributes)  \
  MONOLITH_LOOP(FillTruncatedNormal, Name, attributes)

MONOLITH_LOOPS(Portable, )
#if defined(__x86_64__)
MONOLITH_LOOPS(Avx2, __attribute__((target("avx2"))))
// DQ has the 64-bit product.
MONOLITH_LOOPS(
    Avx512, __attribute__((target("avx512f,avx512dq,prefer-vector-width=512"))))
#endif

FillLoop Choose(InstructionSet set, FillLoop portable, FillLoop avx2,
                FillLoop avx512) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512dq")) {
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
#define MONOLITH_CHOOSE(set, Fill) \
  Choose(set, Fill##Portable, Fill##Avx2, Fill##Avx512)
#else
#define MONOLITH_CHOOSE(set, Fill) Choose(set, Fill##Portable, nullptr, nullptr)
#endif

}  // namespace

FillLoop UniformLoopIn(InstructionSet set) {
  return MONOLITH_CHOOSE(set, FillUniform);
}

FillLoop NormalLoopIn(InstructionSet set) {
  return MONOLITH_CHOOSE(set, FillNormal);
}

FillLoop TruncatedNormalLoopIn(InstructionSet set) {
  return MONOLITH_CHOOSE(set, FillTruncatedNormal);
}

double NormalQuantile(double q) { return WholeQuantile(q); }

double MiddleNormalQuantile(double q) { return MiddleQuantile(q); }

}  // namespace monolith_tf
