// row_sum.h
//
// Sums over a row that come out the same in every instruction set. Only for
// the files of row_rule.h.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_SUM_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_SUM_H_

#include <stdint.h>

#include "ops/cc/table/row_rule.h"

namespace monolith_tf {

// The sum of term(j) for j in [0, dim): 16 partial sums, one for each lane of
// the widest register, which are then added by halves.
template <typename Term>
static MONOLITH_INLINE float SumOverRow(int64_t dim, const Term& term) {
  float parts[16] = {};
  int64_t j = 0;
  MONOLITH_ROW_LOOP
  for (; j + 16 <= dim; j += 16) {
    for (int k = 0; k < 16; ++k) parts[k] += term(j + k);
  }
  MONOLITH_ROW_LOOP
  for (int k = 0; j < dim; ++j, ++k) parts[k] += term(j);
  for (int half = 8; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) parts[k] += parts[k + half];
  }
  return parts[0];
}

static MONOLITH_INLINE float SumOfSquares(int64_t dim, const float* floats) {
  return SumOverRow(dim, [floats](int64_t j) __attribute__((always_inline)) {
    return floats[j] * floats[j];
  });
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_SUM_H_
