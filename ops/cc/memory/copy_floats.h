// copy_floats.h: copies of rows.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_COPY_FLOATS_H_
#define MONOLITH_TF_OPS_CC_MEMORY_COPY_FLOATS_H_

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

// Bytes of rows from which on they are written past the caches: a line that is
// written whole is then not read first, which is one of four lines that a row
// of 16 floats costs. Fewer bytes would still be in the second-level cache for
// who reads them next.
inline constexpr int64_t kMinStreamedBytes = int64_t{2} << 20;

// Whether StreamFloats may write rows of n floats from `to` on.
inline bool CanStreamFloats(const float* to, int64_t n) {
  return n % 16 == 0 && (reinterpret_cast<uintptr_t>(to) & 63) == 0;
}

// CopyFloats of whole cache lines to where one starts, past the caches where
// the processor can. Others see it after FenceStreams().
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
