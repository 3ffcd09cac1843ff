// memory_pool.h
//
// Cuts slabs for the rows and the index of all stripes of a table from
// extents of huge pages. The stripes of a table grow evenly: with memory of
// their own, all would touch a fresh 2 MiB page in the same batch, and each
// would leave half a page unused. From one pool, pages are touched one after
// the other, and the slabs that a shrinking table gives back make whole
// pages free.
//
//   extent   +--------------+--------------+--------------+---
//   32 MiB   | page, 2 MiB  | page         | page         | ...  16 of them
//            +--------------+--------------+--------------+---
//            | slab | slab | slab | free  ...
//
// A slab is cut from the lowest free place that is long enough, so memory
// in use stays together. A slab may lie over the border of two pages.
//
// System calls are not made where a caller may hold a lock: a page is cleared
// by the system at its first touch (0.1 ms and more) and given back by
// Maintain(), which somebody calls now and then with no lock held. Without
// Maintain() all works, slower and with more memory.
//
// Thread-safe.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_MEMORY_POOL_H_
#define MONOLITH_TF_OPS_CC_MEMORY_MEMORY_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "ops/cc/memory/huge_page_share.h"
#include "ops/cc/memory/memory_block.h"
#include "ops/cc/memory/spin_lock.h"

namespace monolith_tf {

class MemoryPool {
 public:
  static constexpr size_t kPageBytes = MemoryBlock::kHugePageBytes;
  static constexpr size_t kExtentBytes = 16 * kPageBytes;
  // Slabs of less have memory of their own, so that a small table does not
  // touch a huge page; those of kPageBytes and more have a mapping of their
  // own, which is resident as far as it was touched.
  static constexpr size_t kMinSharedBytes = size_t{16} << 10;

  // Memory with undefined contents on a cache line; goes back to the pool,
  // which lives longer, when destroyed.
  class Slab {
   public:
    Slab() = default;
    ~Slab() { Release(); }
    Slab(Slab&& other) noexcept;
    Slab& operator=(Slab&& other) noexcept;

    char* data() const { return data_; }
    bool empty() const { return data_ == nullptr; }
    // Resident bytes when the first `used` bytes were touched.
    size_t ResidentBytes(size_t used) const;
    // The bytes from `used` on will not be read again.
    void Forget(size_t used) { memory_.Forget(used); }

   private:
    friend class MemoryPool;
    void Release();

    char* data_ = nullptr;
    size_t bytes_ = 0;
    // Where it is in the pool, or memory of its own.
    uint64_t position_ = 0;
    MemoryPool* pool_ = nullptr;
    MemoryBlock memory_;
  };

  MemoryPool() = default;
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // An empty slab when memory ends.
  Slab Allocate(size_t bytes);

  // Whether slabs lie so far apart, after many went, that moving them would
  // make whole pages free. Costs a load.
  bool is_scattered() const {
    return is_scattered_.load(std::memory_order_relaxed);
  }
  // A slab as long as this one that lies before it and on pages that are
  // resident, or an empty one.
  Slab AllocateBefore(const Slab& slab);

  // Makes pages for `bytes` more than are in use resident, and keeps as many
  // from then on. Makes system calls. False when memory ends: then there are
  // fewer.
  bool Reserve(size_t bytes);

  // Does at most one of: touch the page that is going to be cut next; give a
  // free page to the system; give an extent to the system. Returns whether
  // there may be more to do. Costs a load when there is nothing. Call it with
  // no lock held.
  bool Maintain() {
    return has_work_.load(std::memory_order_relaxed) && MaintainOnce();
  }

  // Bytes of the pages that were touched and not given back.
  int64_t resident_bytes() const;
  // Those of them that no slab uses.
  int64_t idle_bytes() const;
  // Those of the idle bytes that are not reserved.
  int64_t surplus_bytes() const;
  // The address ranges of the extents, for HugePageShare.
  std::vector<MemoryRange> ranges() const;

 private:
  static constexpr int kPagesPerExtent = kExtentBytes / kPageBytes;
  // Free pages that stay resident, for the slabs to come.
  static constexpr int64_t kMaxFreePages = 2;
  // Slabs are scattered when the pages that they are on have more room left
  // than this, and an eighth.
  static constexpr int64_t kMaxHolesBytes = 2 * kPageBytes;
  static constexpr uint64_t kNoPosition = ~uint64_t{0};

  struct Extent {
    MemoryBlock memory;
    // Bytes of each page that slabs use; whether the page is resident.
    uint32_t used[kPagesPerExtent] = {};
    bool is_resident[kPagesPerExtent] = {};
    int64_t used_bytes = 0;
    int num_resident = 0;
  };

  // Positions number the bytes of all extents: extent * kExtentBytes + offset.
  char* At(uint64_t position) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return extents_[position / kExtentBytes]->memory.data() +
           position % kExtentBytes;
  }
  bool AddExtent() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // The lowest free place of this length, or kNoPosition when memory ends.
  uint64_t FindFree(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Takes a free range, or gives one back.
  void Take(uint64_t position, size_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void Give(uint64_t position, size_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void CountUse(uint64_t position, size_t bytes, bool is_use)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Whether the next page should be touched, a free one given back.
  bool WantsPage() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  bool HasSparePage() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Sets the two flags that are read without the lock.
  void SetHasWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  bool IsResident(uint64_t position, size_t bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  Slab MakeSlab(uint64_t position, size_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // The first free page that is not resident, the last one that is; or
  // kNoPosition.
  uint64_t FirstUntouchedPage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  uint64_t LastFreePage() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  std::unique_ptr<Extent> TakeEmptyExtent()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Counts a page that was given back to the system.
  void MarkReturned(uint64_t page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void Deallocate(uint64_t position, size_t bytes);
  bool MaintainOnce();

  mutable SpinLock lock_;
  // Null where an extent was given back.
  std::vector<std::unique_ptr<Extent>> extents_ ABSL_GUARDED_BY(lock_);
  // Free ranges, length by position; none spans two extents, no two touch.
  std::map<uint64_t, size_t> free_ ABSL_GUARDED_BY(lock_);
  int64_t used_bytes_ ABSL_GUARDED_BY(lock_) = 0;
  int64_t num_resident_ ABSL_GUARDED_BY(lock_) = 0;
  // Pages that are not given back.
  int64_t num_reserved_ ABSL_GUARDED_BY(lock_) = 0;
  // Resident pages that are being given back.
  int64_t num_returning_ ABSL_GUARDED_BY(lock_) = 0;
  // Pages that are free and resident; extents that are free and not.
  int64_t num_free_ ABSL_GUARDED_BY(lock_) = 0;
  int64_t num_empty_extents_ ABSL_GUARDED_BY(lock_) = 0;
  // Somebody is touching a page.
  bool is_touching_ ABSL_GUARDED_BY(lock_) = false;
  std::atomic<bool> has_work_{false};
  std::atomic<bool> is_scattered_{false};
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_MEMORY_POOL_H_
