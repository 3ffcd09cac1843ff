// prefetch.h: hints that bring memory into the cache.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_PREFETCH_H_
#define MONOLITH_TF_OPS_CC_MEMORY_PREFETCH_H_

#include <cstdint>

namespace monolith_tf {

// Prefetches the line of `address`, which need not be valid, into the
// second-level cache: on Zen 4, more lines can be in flight to it than to the
// first level, and the remaining latency is small.
inline void PrefetchLine(const void* address) {
  constexpr int kReads = 0;
  constexpr int kSecondLevel = 2;
  __builtin_prefetch(address, kReads, kSecondLevel);
  // g++ 12 drops calls of a function that only prefetches, because it has no
  // effect. This prevents that and emits no instruction.
  asm volatile("");
}

// Prefetches the lines of floats [n].
inline void PrefetchFloats(const float* floats, int64_t n) {
  constexpr int64_t kLine = 16;
  for (int64_t i = 0; i < n; i += kLine) PrefetchLine(floats + i);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_PREFETCH_H_
