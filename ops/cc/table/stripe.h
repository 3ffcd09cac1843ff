// stripe.h
//
// One of the parts of a table with a separate lock: index, rows, counters of
// ids that are not admitted yet, and the log of changed ids. Everything except
// PrefetchBucket needs the lock.
//
// The index refers to rows and counters by handles; the top bit distinguishes
// them. An id has one or the other. Rows move only in Compact and MoveSlabs, so
// pointers to them are valid until then, or until the lock is released.

#ifndef MONOLITH_TF_OPS_CC_TABLE_STRIPE_H_
#define MONOLITH_TF_OPS_CC_TABLE_STRIPE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "ops/cc/admission/occurrence_window.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/prefetch.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/cuckoo_index.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/row_capture.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/table_stats.h"
#include "ops/cc/table/touched_log.h"

namespace monolith_tf {

// An id that is counted and not admitted.
struct Counter {
  int64_t id;
  OccurrenceCounts counts;
};
static_assert(sizeof(Counter) == 16, "documented in table.h");

// The order in which rows are evicted for the cap.
enum class EvictionPolicy { kLru, kLfu, kLowestNorm };

// Aligned to cache lines, so that locks of two stripes do not share one.
class alignas(64) Stripe {
 public:
  // Rows that EvictLowest chooses from, and the most that it takes of them.
  static constexpr int kSampleRows = 32;
  static constexpr int kMaxVictims = 8;
  // Handles that EvictLowestOfNext looks at.
  static constexpr int kNextHandles = 256;
  static constexpr int kMaxCandidates = 64;

  // The stripe with this number. The memory of its rows comes from `pool`,
  // which lives as long, as `layout` does, in slabs of up to
  // `max_slab_bytes`. Adds the memory of its log to `log_bytes`.
  Stripe(int number, const RowLayout* layout, KeyedHash hash, MemoryPool* pool,
         std::atomic<int64_t>* log_bytes,
         int64_t max_slab_bytes = RowArena::kMaxSlabBytes)
      : layout_(layout),
        hash_(hash),
        pool_(pool),
        log_bytes_(log_bytes),
        max_slab_bytes_(max_slab_bytes),
        index_(pool, number, CuckooIndex::MaxLoadOf(number)),
        rows_(layout->record_bytes(), pool, max_slab_bytes),
        counters_(sizeof(Counter), pool, max_slab_bytes) {}

  SpinLock* lock() const ABSL_LOCK_RETURNED(lock_) { return &lock_; }

  // Without the lock.
  void PrefetchBucket(uint64_t hash) const { index_.PrefetchFirst(hash); }

  // Guesses the rows of a run of up to kMaxCandidates ids, for FindAt, and
  // prefetches the first `bytes` of each. Fetches the second bucket of an id
  // only if the first has no candidate. fetch(k) may fetch what else the k-th
  // id needs.
  //
  // Rows of a run lie on different pages, and a prefetch waits until its
  // address is translated, for most by a page walk. The processor makes several
  // walks at once if it sees several prefetches in sequence. So all of them
  // come after the search.
  template <typename Fetch>
  void FindCandidates(const uint64_t* hashes, int n, size_t bytes,
                      const Fetch& fetch, uint32_t* candidates) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Returns the row of `id`, or null. `candidate` must be from the same hold of
  // the lock, without an insertion of `id` or a removal in between.
  Row* FindAt(uint32_t candidate, uint64_t hash, int64_t id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    if (candidate == kNoHandle) return nullptr;
    if ((candidate & kCounterBit) != 0) return Find(hash, id);
    Row* const row = RowAt(candidate);
    return row->id == id ? row : Find(hash, id);
  }

  // Returns the row of `id`, or null.
  Row* Find(uint64_t hash, int64_t id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Inserts a row for an id without one, with undefined floats, and removes the
  // counter of the id. Returns null if there is no memory.
  Row* Insert(uint64_t hash, int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Removes the row of `id` and logs it. Returns whether there was one.
  bool Remove(uint64_t hash, int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Adds occurrences of an id without a row. Returns the new count, or
  // OccurrenceCounts::kMax if there is no memory.
  int64_t Count(uint64_t hash, int64_t id, int64_t count, uint32_t interval)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Merges saved counts of an id without a row into its counter: keeps the
  // larger. Returns false if there is no memory.
  bool RestoreCounter(uint64_t hash, const Counter& saved)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  // Marks `row` as changed under the present cut. Call it before the change.
  void Stamp(Row* row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    if (!is_tracking_) {
      if (capture_ != nullptr) capture_->BeforeChange(row);
      return;
    }
    if (row->cut == cut_) return;
    if (capture_ != nullptr) capture_->BeforeChange(row);
    row->cut = cut_;
    Log(row->id);
  }
  // Eviction. Every eviction is logged as a removal, and counted in stats().

  // Whether the last update of a row is older than `ttl` at `clock`.
  static bool IsExpired(const Row* row, uint32_t clock, uint32_t ttl) {
    return clock > row->last_update && clock - row->last_update > ttl;
  }
  // Checks the next `num_handles` handles, cyclically, and removes rows whose
  // last update is older than `ttl` at `clock`. Returns how many.
  int64_t SweepExpired(uint32_t clock, uint32_t ttl, int64_t num_handles)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // The same for counters without occurrences in `interval` and the one before.
  void SweepCounters(uint32_t interval, int64_t num_handles)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // For caps; the layout must number updates. Rows that update `spared_from` or
  // a later one changed are spared.

  // The rank of a row: the lowest is evicted first.
  struct Rank {
    uint64_t score;
    int64_t update;
    int64_t id;

    friend bool operator<(const Rank& a, const Rank& b) {
      return std::tie(a.score, a.update, a.id) <
             std::tie(b.score, b.update, b.id);
    }
  };
  // `scratch` is [dim].
  Rank RankOf(const Row* row, EvictionPolicy policy, float* scratch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Removes up to `num_rows` <= kMaxVictims rows: the lowest by `policy` of up
  // to kSampleRows random ones. Returns how many.
  int EvictLowest(EvictionPolicy policy, int num_rows, int64_t spared_from,
                  float* scratch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // The same among the next kNextHandles handles, cyclically, with any
  // `num_rows`. For stripes where most rows are spared.
  int EvictLowestOfNext(EvictionPolicy policy, int num_rows,
                        int64_t spared_from, float* scratch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Removes the row of an id unless it is spared. Returns whether it did.
  bool EvictForCap(uint64_t hash, int64_t id, int64_t spared_from)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Removes an expired row.
  void Expire(uint64_t hash, int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    stats_.num_expired += Remove(hash, id);
  }
  // Moves up to `max_moves` rows and as many counters into free places, so that
  // memory can be returned: if many are free, or always with `to_the_last`.
  // Does nothing while an iteration pins the stripe. Returns the work done; 0
  // if there is nothing left to do.
  int Compact(int max_moves, bool to_the_last = false)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Moves a slab of rows, one of counters and a chunk of the index to lower
  // places, if there are any. Returns whether it moved one.
  bool MoveSlabs() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // The number of MoveSlabs calls that try all.
  int64_t num_slabs() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // While the stripe is pinned, rows do not move.
  void Pin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) { ++num_pins_; }
  void Unpin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) { --num_pins_; }

  // Allocates the index of an empty stripe for `num_rows`, and keeps it.
  // Returns false if there is no memory.
  bool Reserve(int64_t num_rows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Empties the stripe, except for the reserved index, whose memory may be
  // passed in `index`. Moves the old index, rows and counters to the outputs.
  void Clear(std::vector<MemoryPool::Slab>* index, RowArena* rows,
             RowArena* counters) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Allocates memory for Clear without the lock, because its pages take time.
  std::vector<MemoryPool::Slab> MakeIndex() const ABSL_LOCKS_EXCLUDED(lock_);

  // Starts or stops the logging of changes; keeps the log.
  void SetTracking(bool is_tracking) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    is_tracking_ = is_tracking;
  }
  bool is_tracking() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return is_tracking_;
  }
  void LogRemoval(int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    if (is_tracking_) Log(id);
  }
  // Returns the log and starts a new one: later changes belong to `new_cut`.
  TouchedLog SwapTouched(int64_t new_cut) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    cut_ = static_cast<uint32_t>(new_cut);
    log_bytes_->fetch_sub(touched_.taken_bytes(), std::memory_order_relaxed);
    return std::exchange(touched_, TouchedLog());
  }

  // From now on, rows go to `capture` before they change (row_capture.h), until
  // this is called with null. The table either tracks changes, or has no cuts.
  void SetCapture(RowCapture* capture) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    capture_ = capture;
  }

  const RowArena& rows() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return rows_;
  }
  const RowArena& counters() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return counters_;
  }
  // The record of a used handle.
  Row* RowAt(uint32_t handle) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return reinterpret_cast<Row*>(rows_.At(handle));
  }
  Counter* CounterAt(uint32_t handle) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return reinterpret_cast<Counter*>(counters_.At(handle));
  }
  int64_t num_rows() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return rows_.size();
  }
  // Adds this stripe's numbers to `stats`.
  void AddStats(TableStats* stats) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

 private:
  static constexpr uint32_t kCounterBit = uint32_t{1} << 31;
  // Entries of a stripe that AddStats probes for.
  static constexpr int kProbedEntries = 64;

  // The hashes of entries by handle, for the index.
  struct RowHash {
    uint64_t operator()(uint32_t handle) const {
      return stripe->hash_(stripe->IdAt(handle));
    }
    void Prefetch(uint32_t handle) const {
      PrefetchLine(stripe->RecordAt(handle));
    }
    const Stripe* stripe;
  };

  char* RecordAt(uint32_t handle) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return (handle & kCounterBit) == 0 ? rows_.At(handle)
                                       : counters_.At(handle & ~kCounterBit);
  }
  int64_t IdAt(uint32_t handle) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return *reinterpret_cast<const int64_t*>(RecordAt(handle));
  }
  // Prefetches the first `bytes` of the rows among candidates [n], and the
  // counters.
  void PrefetchCandidates(const uint32_t* candidates, int n, size_t bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // The entry of `id`, a row or a counter, or kNoHandle.
  uint32_t FindEntry(uint64_t hash, int64_t id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // The counter of an id without a row, inserted if there is none; null if
  // there is no memory.
  Counter* CounterOf(uint64_t hash, int64_t id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void Log(int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    const int64_t taken = touched_.Append(id);
    if (taken != 0) log_bytes_->fetch_add(taken, std::memory_order_relaxed);
  }
  void RemoveRow(uint64_t hash, uint32_t handle)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Removes the lowest `num_rows` of `n` <= kNextHandles rows that are not
  // spared. Returns how many.
  int EvictAmong(const uint32_t* handles, int n, EvictionPolicy policy,
                 int num_rows, int64_t spared_from, float* scratch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  const RowLayout* const layout_;
  const KeyedHash hash_;
  MemoryPool* const pool_;
  std::atomic<int64_t>* const log_bytes_;
  const int64_t max_slab_bytes_;
  mutable SpinLock lock_;
  bool is_tracking_ ABSL_GUARDED_BY(lock_) = false;
  // 0 while changes are not tracked.
  uint32_t cut_ ABSL_GUARDED_BY(lock_) = 0;
  int num_pins_ ABSL_GUARDED_BY(lock_) = 0;
  int64_t reserved_rows_ ABSL_GUARDED_BY(lock_) = 0;
  CuckooIndex index_;
  RowArena rows_ ABSL_GUARDED_BY(lock_);
  RowArena counters_ ABSL_GUARDED_BY(lock_);
  // The next handles of the sweeps and of EvictLowestOfNext.
  uint32_t row_hand_ ABSL_GUARDED_BY(lock_) = 0;
  uint32_t cap_hand_ ABSL_GUARDED_BY(lock_) = 0;
  uint32_t counter_hand_ ABSL_GUARDED_BY(lock_) = 0;
  // State of the samples of EvictLowest.
  uint64_t random_ ABSL_GUARDED_BY(lock_) = 0;
  TouchedLog touched_ ABSL_GUARDED_BY(lock_);
  // Null unless a snapshot is being written.
  RowCapture* capture_ ABSL_GUARDED_BY(lock_) = nullptr;
  // Counts of events of this stripe; other members stay 0.
  TableStats stats_ ABSL_GUARDED_BY(lock_);
};

template <typename Fetch>
void Stripe::FindCandidates(const uint64_t* hashes, int n, size_t bytes,
                            const Fetch& fetch, uint32_t* candidates) const {
  uint8_t others[kMaxCandidates];
  int num_others = 0;
  for (int k = 0; k < n; ++k) {
    candidates[k] = index_.CandidateInFirst(hashes[k]);
    if (candidates[k] != kNoHandle) continue;
    index_.PrefetchSecond(hashes[k]);
    others[num_others++] = static_cast<uint8_t>(k);
  }
  for (int k = 0; k < n; ++k) fetch(k);
  for (int i = 0; i < num_others; ++i) {
    candidates[others[i]] = index_.CandidateInSecond(hashes[others[i]]);
  }
  PrefetchCandidates(candidates, n, bytes);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_STRIPE_H_
