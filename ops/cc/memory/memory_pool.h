// memory_pool.h
//
// Allocates slabs for the rows and the index of all stripes of a table from
// extents of huge pages. The stripes of a table grow evenly: with separate
// memory, all would touch a new 2 MiB page in the same batch, and each would
// leave half a page unused. With one pool, pages are touched one after the
// other, and the slabs that a shrinking table frees leave whole pages free.
//
//   extent   +--------------+--------------+--------------+---
//   32 MiB   | page, 2 MiB  | page         | page         | ...  16 of them
//            +--------------+--------------+--------------+---
//            | slab | slab | slab | free  ...
//
// A slab takes the lowest free range that is long enough, so used memory stays
// together. A slab may cross the border of two pages. Finding it is O(log n)
// for n free ranges (free_ranges.h).
//
// Allocation makes no system calls, because its callers hold locks: clearing a
// page at its first touch takes 0.1 ms and more. Maintain() touches the next
// page and returns free ones. Somebody should call it regularly with no lock
// held; without it, the pool is slower and uses more memory.
//
// Thread-safe.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_MEMORY_POOL_H_
#define MONOLITH_TF_OPS_CC_MEMORY_MEMORY_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "ops/cc/memory/free_ranges.h"
#include "ops/cc/memory/huge_page_share.h"
#include "ops/cc/memory/memory_block.h"
#include "ops/cc/memory/memory_budget.h"
#include "ops/cc/memory/spin_lock.h"

namespace monolith_tf {

class MemoryPool {
 public:
  static constexpr size_t kPageBytes = MemoryBlock::kHugePageBytes;
  static constexpr size_t kExtentBytes = 16 * kPageBytes;
  // Smaller slabs are separate allocations, so that a small table touches no
  // huge page. Slabs of kPageBytes and more are separate mappings, which are
  // resident as far as they were touched.
  static constexpr size_t kMinSharedBytes = size_t{16} << 10;

  // Memory with undefined contents that starts on a cache line. Returns to the
  // pool, which must outlive it, on destruction.
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
    // Tells that the bytes from `used` on will not be read again.
    void Forget(size_t used) { memory_.Forget(used); }

   private:
    friend class MemoryPool;
    void Release();

    char* data_ = nullptr;
    size_t bytes_ = 0;
    // Its place in the pool, or its separate allocation.
    uint64_t position_ = 0;
    MemoryPool* pool_ = nullptr;
    MemoryBlock memory_;
  };

  // Takes memory from the system as far as `budget` allows.
  explicit MemoryPool(MemoryBudget* budget = &MemoryBudget::OfProcess())
      : budget_(budget) {}
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // Returns an empty slab if there is no memory.
  Slab Allocate(size_t bytes);

  // Whether so many slabs were freed that moving the others together would free
  // whole pages. Costs one load.
  bool is_scattered() const {
    return is_scattered_.load(std::memory_order_relaxed);
  }
  // Returns a slab of the same length at a lower place on resident pages, or an
  // empty one.
  Slab AllocateBefore(const Slab& slab);

  // Makes pages for `bytes` more than are in use resident, and keeps that many
  // from now on. Makes system calls. Returns false if memory ends; then there
  // are fewer pages.
  bool Reserve(size_t bytes);

  // Does at most one of: touch the page that the next slabs will use; return a
  // free page to the system; return an extent to the system. Returns whether
  // there may be more to do. Costs one load if there is nothing to do. Call it
  // with no lock held.
  bool Maintain() {
    return has_work_.load(std::memory_order_relaxed) && MaintainOnce();
  }

  // Bytes of the pages that were touched and not returned.
  int64_t resident_bytes() const;
  // Resident bytes that no slab uses.
  int64_t idle_bytes() const;
  // Idle bytes that are not reserved.
  int64_t surplus_bytes() const;
  // The address ranges of the extents, for HugePageShare.
  std::vector<MemoryRange> ranges() const;

 private:
  static constexpr int kPagesPerExtent = kExtentBytes / kPageBytes;
  // Free pages that stay resident, for the slabs to come.
  static constexpr int64_t kMaxFreePages = 2;
  // Free places that AllocateBefore looks at.
  static constexpr int kMaxLooks = 64;
  // Slabs are scattered if their pages have more free room than this plus an
  // eighth.
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
  // The lowest free place of this length, or kNoPosition if there is no memory.
  uint64_t FindFree(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Takes or returns a free range.
  void Take(uint64_t position, size_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void Give(uint64_t position, size_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void CountUse(uint64_t position, size_t bytes, bool is_use)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Whether the next page should be touched, or a free one returned.
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
  // Counts a page that was returned to the system.
  void MarkReturned(uint64_t page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void Deallocate(uint64_t position, size_t bytes);
  bool MaintainOnce();

  MemoryBudget* const budget_;
  mutable SpinLock lock_;
  // Null where an extent was returned.
  std::vector<std::unique_ptr<Extent>> extents_ ABSL_GUARDED_BY(lock_);
  // None spans two extents, no two touch.
  FreeRanges free_ ABSL_GUARDED_BY(lock_);
  int64_t used_bytes_ ABSL_GUARDED_BY(lock_) = 0;
  int64_t num_resident_ ABSL_GUARDED_BY(lock_) = 0;
  // Pages that are not returned.
  int64_t num_reserved_ ABSL_GUARDED_BY(lock_) = 0;
  // Resident pages that are being returned.
  int64_t num_returning_ ABSL_GUARDED_BY(lock_) = 0;
  // Pages that are free and resident; extents that are free and not.
  int64_t num_free_ ABSL_GUARDED_BY(lock_) = 0;
  int64_t num_empty_extents_ ABSL_GUARDED_BY(lock_) = 0;
  // Whether a thread is touching a page.
  bool is_touching_ ABSL_GUARDED_BY(lock_) = false;
  std::atomic<bool> has_work_{false};
  std::atomic<bool> is_scattered_{false};
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_MEMORY_POOL_H_
