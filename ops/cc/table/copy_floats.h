// copy_floats.h: copies of rows.

#ifndef MONOLITH_TF_OPS_CC_TABLE_COPY_FLOATS_H_
#define MONOLITH_TF_OPS_CC_TABLE_COPY_FLOATS_H_

#include <cstdint>
#include <cstring>

namespace monolith_tf {

// memcpy of rows: whole cache lines without a call.
inline void CopyFloats(const float* from, int64_t n, float* to) {
  constexpr int64_t kLine = 16;
  int64_t i = 0;
  for (; i + kLine <= n; i += kLine) {
    std::memcpy(to + i, from + i, kLine * sizeof(float));
  }
  for (; i < n; ++i) to[i] = from[i];
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_COPY_FLOATS_H_
