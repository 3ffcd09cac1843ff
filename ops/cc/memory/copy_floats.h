// copy_floats.h: copies of rows.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_COPY_FLOATS_H_
#define MONOLITH_TF_OPS_CC_MEMORY_COPY_FLOATS_H_

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <cstdint>
#include <cstring>

namespace monolith_tf {

// Copies floats [n] by whole cache lines, without a call.
inline void CopyFloats(const float* from, int64_t n, float* to) {
  constexpr int64_t kLine = 16;
  int64_t i = 0;
  for (; i + kLine <= n; i += kLine) {
    std::memcpy(to + i, from + i, kLine * sizeof(float));
  }
  for (; i < n; ++i) to[i] = from[i];
}

// Outputs of at least this many bytes are written past the caches: a line that
// is written whole is then not read first, which saves one of the four lines
// that a row of 16 floats costs. Smaller outputs stay in the second-level
// cache for their next reader.
inline constexpr int64_t kMinStreamedBytes = int64_t{2} << 20;

// Whether StreamFloats can write rows of n floats to `to`.
inline bool CanStreamFloats(const float* to, int64_t n) {
  return n % 16 == 0 && (reinterpret_cast<uintptr_t>(to) & 63) == 0;
}

// CopyFloats of whole, aligned cache lines, past the caches if the processor
// supports it. Other threads see the floats after FenceStreams().
inline void StreamFloats(const float* from, int64_t n, float* to) {
#ifdef __SSE2__
  for (int64_t i = 0; i < n; i += 16) {
    const __m128 a = _mm_loadu_ps(from + i);
    const __m128 b = _mm_loadu_ps(from + i + 4);
    const __m128 c = _mm_loadu_ps(from + i + 8);
    const __m128 d = _mm_loadu_ps(from + i + 12);
    _mm_stream_ps(to + i, a);
    _mm_stream_ps(to + i + 4, b);
    _mm_stream_ps(to + i + 8, c);
    _mm_stream_ps(to + i + 12, d);
  }
#else
  CopyFloats(from, n, to);
#endif
}

inline void FenceStreams() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_COPY_FLOATS_H_
