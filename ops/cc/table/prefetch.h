// prefetch.h: starts to bring memory into the cache.

#ifndef MONOLITH_TF_OPS_CC_TABLE_PREFETCH_H_
#define MONOLITH_TF_OPS_CC_TABLE_PREFETCH_H_

namespace monolith_tf {

// The line of `address`, which need not be valid.
inline void PrefetchLine(const void* address) {
  __builtin_prefetch(address);
  // To g++ 12 a function that does nothing but prefetch has no effect: it
  // drops calls of it, silently. No instruction comes of this.
  asm volatile("");
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_PREFETCH_H_
