// What the benchmarks of the table core share.

#ifndef MONOLITH_TF_BENCHMARKS_CC_BENCHMARK_SUPPORT_H_
#define MONOLITH_TF_BENCHMARKS_CC_BENCHMARK_SUPPORT_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "ops/cc/hash/hash.h"

namespace monolith_tf {

// Reads --name=N with N > 0; false when `argument` is something else.
inline bool ParseFlag(const char* argument, const char* name, int64_t* value) {
  const std::string prefix = std::string("--") + name + "=";
  if (std::strncmp(argument, prefix.c_str(), prefix.size()) != 0) return false;
  char* end = nullptr;
  *value = std::strtoll(argument + prefix.size(), &end, 10);
  return *end == '\0' && *value > 0;
}

// The i-th id that exists: spread over all int64.
inline int64_t IdOf(uint64_t i) { return static_cast<int64_t>(Mix64(i + 1)); }

}  // namespace monolith_tf

#endif  // MONOLITH_TF_BENCHMARKS_CC_BENCHMARK_SUPPORT_H_
