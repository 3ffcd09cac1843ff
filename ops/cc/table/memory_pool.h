// memory_pool.h
//
// Cuts segments for the rows of all stripes of a table from extents of huge
// pages. The stripes of a table grow evenly: with memory of their own, all
// would touch a fresh 2 MiB page in the same batch, and each would leave half
// a page unused. From one pool, pages are touched one after the other.
//
// Thread-safe. An extent returns to the system with its last segment.

#ifndef MONOLITH_TF_OPS_CC_TABLE_MEMORY_POOL_H_
#define MONOLITH_TF_OPS_CC_TABLE_MEMORY_POOL_H_

#include <cstddef>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "ops/cc/table/memory_block.h"
#include "ops/cc/table/spin_lock.h"

namespace monolith_tf {

class MemoryPool {
 public:
  struct Segment {
    // Zeroed, on a cache line; null when memory ends.
    char* data = nullptr;
    // Keeps the memory.
    std::shared_ptr<const MemoryBlock> owner;
  };

  // Segments of less have memory of their own, so that a small table does not
  // touch a huge page.
  static constexpr size_t kMinSharedBytes = size_t{32} << 10;
  // Address space of an extent; its pages become resident when touched.
  static constexpr size_t kExtentBytes = size_t{32} << 20;

  Segment Allocate(size_t bytes);

 private:
  SpinLock lock_;
  std::shared_ptr<const MemoryBlock> extent_ ABSL_GUARDED_BY(lock_);
  size_t used_ ABSL_GUARDED_BY(lock_) = 0;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_MEMORY_POOL_H_
