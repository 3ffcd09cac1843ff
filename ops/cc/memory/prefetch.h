// prefetch.h: starts to bring memory into the cache.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_PREFETCH_H_
#define MONOLITH_TF_OPS_CC_MEMORY_PREFETCH_H_

#include <cstdint>

namespace monolith_tf {

// The line of `address`, which need not be valid. It goes to the second-level
// cache: on Zen 4 more lines can be on their way to it than to the first, and
// what is left of the way is short.
inline void PrefetchLine(const void* address) {
  constexpr int kReads = 0;
  constexpr int kSecondLevel = 2;
  __builtin_prefetch(address, kReads, kSecondLevel);
  // To g++ 12 a function that does nothing but prefetch has no effect: it
  // drops calls of it, silently. No instruction comes of this.
  asm volatile("");
}

// The lines of floats [n].
inline void PrefetchFloats(const float* floats, int64_t n) {
  constexpr int64_t kLine = 16;
  for (int64_t i = 0; i < n; i += kLine) PrefetchLine(floats + i);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_PREFETCH_H_
