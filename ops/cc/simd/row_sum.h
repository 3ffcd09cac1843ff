// row_sum.h
//
// Sums over a row with the same bits in every instruction set. For files that
// include row_rule.h.

#ifndef MONOLITH_TF_OPS_CC_SIMD_ROW_SUM_H_
#define MONOLITH_TF_OPS_CC_SIMD_ROW_SUM_H_

#include <stdint.h>

#include "ops/cc/simd/row_rule.h"

namespace monolith_tf {

// Adds the upper half of n partial sums to the lower one, until one is left.
template <int n>
static MONOLITH_INLINE float SumByHalves(float* parts) {
  if constexpr (n == 1) {
    return parts[0];
  } else {
    float half[n / 2];
    for (int k = 0; k < n / 2; ++k) half[k] = parts[k] + parts[k + n / 2];
    return SumByHalves<n / 2>(half);
  }
}

template <int n, typename Term>
static MONOLITH_INLINE float SumOfBlock(int64_t begin, const Term& term) {
  float parts[n];
  for (int k = 0; k < n; ++k) parts[k] = term(begin + k);
  return SumByHalves<n>(parts);
}

// The sum of term(j) for j in [0, dim): 16 partial sums, one for each lane of
// the widest register, then what is left in blocks of 8, 4, 2 and 1.
template <typename Term>
static MONOLITH_INLINE float SumOverRow(int64_t dim, const Term& term) {
  float sum = 0.0f;
  int64_t j = 0;
  if (dim >= 16) {
    float parts[16];
    for (int k = 0; k < 16; ++k) parts[k] = term(k);
    MONOLITH_ROW_LOOP
    for (j = 16; j + 16 <= dim; j += 16) {
      for (int k = 0; k < 16; ++k) parts[k] += term(j + k);
    }
    sum = SumByHalves<16>(parts);
  }
  if (dim & 8) {
    sum += SumOfBlock<8>(j, term);
    j += 8;
  }
  if (dim & 4) {
    sum += SumOfBlock<4>(j, term);
    j += 4;
  }
  if (dim & 2) {
    sum += SumOfBlock<2>(j, term);
    j += 2;
  }
  if (dim & 1) sum += term(j);
  return sum;
}

static MONOLITH_INLINE float SumOfSquares(int64_t dim, const float* floats) {
  return SumOverRow(dim, [floats](int64_t j) __attribute__((always_inline)) {
    return floats[j] * floats[j];
  });
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_SIMD_ROW_SUM_H_
