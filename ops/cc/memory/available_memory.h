// available_memory.h: memory that a process may still allocate.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_AVAILABLE_MEMORY_H_
#define MONOLITH_TF_OPS_CC_MEMORY_AVAILABLE_MEMORY_H_

#include <cstdint>
#include <string>

namespace monolith_tf {

// Returns the bytes that the system can give without swapping, within the limit
// of the control group (version 2 or 1) of a container if there is one; -1 if
// the system does not report it. `root` is a prefix of /proc and /sys, for
// tests.
int64_t AvailableMemory(const std::string& root = "");

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_AVAILABLE_MEMORY_H_
