// available_memory.h: how much memory a process may still take.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_AVAILABLE_MEMORY_H_
#define MONOLITH_TF_OPS_CC_MEMORY_AVAILABLE_MEMORY_H_

#include <cstdint>
#include <string>

namespace monolith_tf {

// Bytes that the system could give without swapping, and within the limit of
// the control group (version 2 or 1) if there is one, as that of a container;
// -1 where nothing tells. `root` is what stands before /proc and /sys.
int64_t AvailableMemory(const std::string& root = "");

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_AVAILABLE_MEMORY_H_
