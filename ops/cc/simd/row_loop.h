// row_loop.h: the type of the loops that update rows.

#ifndef MONOLITH_TF_OPS_CC_SIMD_ROW_LOOP_H_
#define MONOLITH_TF_OPS_CC_SIMD_ROW_LOOP_H_

#include <stdint.h>

namespace monolith_tf {

// Updates n rows in order. weights [n], slots [n] and gradients [n] point at
// the floats of each row; a row has one or more slots of [dim] each, one after
// the other. `scalars` are the numbers that the update rule names, in that
// order.
using RowLoop = void (*)(int64_t dim, int n, float* const* weights,
                         float* const* slots, const float* const* gradients,
                         const float* scalars);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_SIMD_ROW_LOOP_H_
