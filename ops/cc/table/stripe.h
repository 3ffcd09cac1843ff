// stripe.h
//
// One of the parts of a table that lock on their own: index, rows and the log
// of changed ids. Everything but Prefetch needs the lock.

#ifndef MONOLITH_TF_OPS_CC_TABLE_STRIPE_H_
#define MONOLITH_TF_OPS_CC_TABLE_STRIPE_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "ops/cc/table/cuckoo_index.h"
#include "ops/cc/table/hash.h"
#include "ops/cc/table/memory_block.h"
#include "ops/cc/table/memory_pool.h"
#include "ops/cc/table/prefetch.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/spin_lock.h"
#include "ops/cc/table/touched_log.h"

namespace monolith_tf {

// Stripes lie on lines of their own, so that their locks do not share one.
class alignas(64) Stripe {
 public:
  // The memory of the rows comes from `pool`,
  // which lives as long.
  Stripe(int number, int64_t row_width, KeyedHash hash, MemoryPool* pool)
      : record_bytes_(sizeof(Row) + row_width * sizeof(float)),
        hash_(hash),
        pool_(pool),
        index_(pool, number, CuckooIndex::MaxLoadOf(number)),
        arena_(record_bytes_, pool) {}

  SpinLock* lock() const ABSL_LOCK_RETURNED(lock_) { return &lock_; }

  // Without the lock.
  void PrefetchBuckets(uint64_t hash) const { index_.Prefetch(hash); }

  // A guess at the row of an id, for PrefetchRow and FindAt.
  uint32_t Candidate(uint64_t hash) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return index_.Candidate(hash);
  }
  void PrefetchRow(uint32_t candidate, size_t bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    if (candidate != kNoHandle) arena_.Prefetch(candidate, bytes);
  }
  // The row of `id`, or null. `candidate` is of this hold of the lock, with
  // no insert of `id` and no removal since.
  Row* FindAt(uint32_t candidate, uint64_t hash, int64_t id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    if (candidate == kNoHandle) return nullptr;
    Row* const row = At(candidate);
    return row->id == id ? row : Find(hash, id);
  }

  Row* At(uint32_t handle) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return reinterpret_cast<Row*>(arena_.At(handle));
  }
  // The row of `id`, or null.
  Row* Find(uint64_t hash, int64_t id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // A new row for an id that has none, with undefined floats; null when
  // memory ends.
  Row* Insert(uint64_t hash, int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Whether there was one.
  bool Remove(uint64_t hash, int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Notes that `row` changes now.
  void Stamp(Row* row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    if (row->cut == cut_) return;
    row->cut = cut_;
    if (is_tracking_) touched_.Append(row->id);
  }

  // Empties the stripe; index and rows go to the outputs.
  void Clear(std::vector<MemoryPool::Segment>* index, RowArena* rows)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    *index = index_.Clear();
    *rows = std::exchange(arena_, RowArena(record_bytes_, pool_));
  }

  // Starts or ends the logging of changes; what was logged stays.
  void SetTracking(bool is_tracking) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    is_tracking_ = is_tracking;
  }
  bool is_tracking() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return is_tracking_;
  }
  void LogRemoval(int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    if (is_tracking_) touched_.Append(id);
  }
  // The log so far; changes from here on belong to `new_cut`.
  TouchedLog SwapTouched(int64_t new_cut) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    cut_ = static_cast<uint32_t>(new_cut);
    return std::exchange(touched_, TouchedLog());
  }

  const RowArena& arena() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return arena_;
  }
  const CuckooIndex& index() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return index_;
  }
  int64_t memory_bytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return index_.memory_bytes() + arena_.memory_bytes() +
           touched_.memory_bytes();
  }

 private:
  // The hashes of rows by handle, for the index.
  struct RowHash {
    uint64_t operator()(uint32_t handle) const {
      return stripe->hash_(stripe->At(handle)->id);
    }
    void Prefetch(uint32_t handle) const {
      PrefetchLine(stripe->arena_.At(handle));
    }
    const Stripe* stripe;
  };

  const size_t record_bytes_;
  const KeyedHash hash_;
  MemoryPool* const pool_;
  mutable SpinLock lock_;
  bool is_tracking_ ABSL_GUARDED_BY(lock_) = false;
  // 0 while changes are not tracked.
  uint32_t cut_ ABSL_GUARDED_BY(lock_) = 0;
  CuckooIndex index_;
  RowArena arena_ ABSL_GUARDED_BY(lock_);
  TouchedLog touched_ ABSL_GUARDED_BY(lock_);
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_STRIPE_H_
