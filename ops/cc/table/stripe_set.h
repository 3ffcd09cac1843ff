// stripe_set.h
//
// The stripes of one table with their memory pool, and the two walks over them:
// by the ids of a batch, and record by record.
//
// Thread safety: every method may be called from any number of threads. A
// method that takes a stripe's lock holds it for one run of ids
// (striped_batch.h) or for kRecordsPerHold records.

#ifndef MONOLITH_TF_OPS_CC_TABLE_STRIPE_SET_H_
#define MONOLITH_TF_OPS_CC_TABLE_STRIPE_SET_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/cuckoo_index.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/striped_batch.h"

namespace monolith_tf {

class StripeSet {
 public:
  static constexpr int kNumStripes = CuckooIndex::kNumStripes;
  // Bounds of the work under one hold of a stripe's lock.
  static constexpr int kMaxRunRows = 64;
  static constexpr int64_t kMaxRunBytes = 32 * 1024;
  static constexpr int kMovesPerRun = 8;
  static constexpr uint32_t kRecordsPerHold = 256;

  // Empty stripes. `layout` outlives them. `max_slab_bytes` is that of their
  // arenas (row_arena.h).
  StripeSet(const RowLayout* layout, KeyedHash hash, int64_t max_slab_bytes);
  StripeSet(const StripeSet&) = delete;
  StripeSet& operator=(const StripeSet&) = delete;

  const KeyedHash& hash() const { return hash_; }
  MemoryPool* pool() const { return pool_.get(); }
  // `number` in [0, kNumStripes).
  Stripe* at(int number) const { return stripes_[number].get(); }
  // The stripe of ids with this hash().
  Stripe* Of(uint64_t hash) const { return at(CuckooIndex::StripeOf(hash)); }
  const std::unique_ptr<Stripe>* begin() const { return stripes_.data(); }
  const std::unique_ptr<Stripe>* end() const { return begin() + kNumStripes; }

  // Takes each lock once.
  int64_t num_rows() const;
  // The memory of the logs of changed ids. Takes no lock.
  int64_t log_bytes() const {
    return log_bytes_.load(std::memory_order_relaxed);
  }

  // Calls work(stripe, run) for the ids [n] whose stripes belong to `part`, one
  // run of at most kMaxRunRows rows and about kMaxRunBytes bytes at a time,
  // without a lock. Stops when it returns false. O(n).
  template <typename Work>
  void ForEachRun(const int64_t* ids, int64_t n, StripePart part,
                  const Work& work) const {
    StripedBatch::ForEachRun(ids, n, part, hash_, run_rows_, begin(), work);
  }

  // Calls found(position, row) under the stripe's lock for ids [n] that have a
  // row, and missing(position) without it for the others. The first `bytes` of
  // each row are brought into the cache; before that, fetch(position) may fetch
  // what else the id needs.
  template <typename Fetch, typename Found, typename Missing>
  void ForEachRow(const int64_t* ids, int64_t n, size_t bytes,
                  const Fetch& fetch, const Found& found,
                  const Missing& missing) const;

  // Calls visit(copy) for the records of an arena of `stripe`: copy =
  // read(handle) under the lock, visit without it. arena() returns the arena
  // and is called under the lock. No record moves meanwhile, so one that
  // exists throughout is visited once; one that is freed and made again may be
  // visited twice. O(handles ever used at once).
  template <typename Copy, typename GetArena, typename Read, typename Visit>
  static void WalkRecords(Stripe* stripe, const GetArena& arena,
                          const Read& read, const Visit& visit);

  // Moves up to kMovesPerRun records to close gaps, and a slab if slabs are
  // scattered. Call it after a change of the stripe, under its lock.
  void Compact(Stripe* stripe) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe->lock()) {
    stripe->Compact(kMovesPerRun);
    if (pool_->is_scattered()) stripe->MoveSlabs();
  }

 private:
  const KeyedHash hash_;
  // Rows of one run, from the two bounds above.
  const int run_rows_;
  // Outlives the stripes.
  const std::unique_ptr<MemoryPool> pool_;
  std::atomic<int64_t> log_bytes_{0};
  std::array<std::unique_ptr<Stripe>, kNumStripes> stripes_;
};

template <typename Fetch, typename Found, typename Missing>
void StripeSet::ForEachRow(const int64_t* ids, int64_t n, size_t bytes,
                           const Fetch& fetch, const Found& found,
                           const Missing& missing) const {
  static_assert(kMaxRunRows <= Stripe::kMaxCandidates, "a run is one search");
  ForEachRun(ids, n, StripePart(), [&](Stripe* stripe, const StripeRun& run) {
    run.PrefetchAhead();
    int64_t absent[kMaxRunRows];
    int num_absent = 0;
    {
      SpinLockHolder holder(stripe->lock());
      uint32_t candidates[kMaxRunRows];
      stripe->FindCandidates(
          run.hashes, run.size, bytes, [&](int k) { fetch(run.position(k)); },
          candidates);
      for (int k = 0; k < run.size; ++k) {
        const Row* row =
            stripe->FindAt(candidates[k], run.hashes[k], run.id(k));
        if (row != nullptr) {
          found(run.position(k), row);
        } else {
          absent[num_absent++] = run.position(k);
        }
      }
    }
    for (int k = 0; k < num_absent; ++k) missing(absent[k]);
    return true;
  });
}

template <typename Copy, typename GetArena, typename Read, typename Visit>
void StripeSet::WalkRecords(Stripe* stripe, const GetArena& arena,
                            const Read& read, const Visit& visit) {
  {
    SpinLockHolder holder(stripe->lock());
    if (arena().size() == 0) return;
    stripe->Pin();
  }
  Copy copies[kRecordsPerHold];
  uint32_t handle = 0;
  for (bool is_done = false; !is_done;) {
    int count = 0;
    {
      SpinLockHolder holder(stripe->lock());
      const RowArena& records = arena();
      // Clear() may have emptied the stripe since the last hold.
      handle = std::min(handle, records.end());
      const uint32_t last = std::min(records.end(), handle + kRecordsPerHold);
      for (handle = records.NextUsed(handle); handle < last;
           handle = records.NextUsed(handle + 1)) {
        copies[count++] = read(handle);
      }
      handle = std::max(handle, last);
      is_done = handle >= records.end();
      if (is_done) stripe->Unpin();
    }
    for (int i = 0; i < count; ++i) visit(copies[i]);
  }
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_STRIPE_SET_H_
