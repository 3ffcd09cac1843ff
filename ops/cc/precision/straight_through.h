// straight_through.h
//
// The straight-through gradient of a function without one, such as rounding to
// a level: the gradient of the identity, except where it would push a weight
// further out of the range of the format.

#ifndef MONOLITH_TF_OPS_CC_PRECISION_STRAIGHT_THROUGH_H_
#define MONOLITH_TF_OPS_CC_PRECISION_STRAIGHT_THROUGH_H_

#include <cstdint>

namespace monolith_tf {

// Zeroes the elements of a gradient [dim] that would move a weight at or beyond
// `limit` away from zero. A step goes against the gradient.
inline void StopAtLimit(const float* weights, int64_t dim, float limit,
                        float* gradient) {
  for (int64_t j = 0; j < dim; ++j) {
    const bool is_outside = (weights[j] >= limit && gradient[j] < 0) ||
                            (weights[j] <= -limit && gradient[j] > 0);
    if (is_outside) gradient[j] = 0;
  }
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_PRECISION_STRAIGHT_THROUGH_H_
