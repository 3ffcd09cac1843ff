// striped_batch.h
//
// Sorts a batch of ids by stripe, so that one hold of a lock serves a run of
// them, and prefetches the buckets of later runs while it works on one. Ids of
// one stripe keep their order, and equal ids belong to one stripe.

#ifndef MONOLITH_TF_OPS_CC_TABLE_STRIPED_BATCH_H_
#define MONOLITH_TF_OPS_CC_TABLE_STRIPED_BATCH_H_

#include <algorithm>
#include <cstdint>
#include <memory>

#include "ops/cc/hash/hash.h"
#include "ops/cc/table/cuckoo_index.h"
#include "ops/cc/table/stripe.h"

namespace monolith_tf {

// One of `count` parts of the stripes: every `count`-th from `index` on.
struct StripePart {
  int index = 0;
  int count = 1;
};

// A run of ids of one stripe: element k is ids[positions[k]], with hashes[k].
struct StripeRun {
  // Ids whose first buckets are in flight while a run is worked on.
  static constexpr int kPrefetchDistance = 128;

  const int64_t* ids;
  const uint64_t* hashes;
  const uint16_t* positions;
  int size;
  // The position of ids[0] in the whole batch.
  int64_t base;
  // The number of sorted ids from this run on, and all stripes.
  int num_left;
  const std::unique_ptr<Stripe>* stripes;

  // Prefetches the first buckets of as many ids of later runs.
  void PrefetchAhead() const {
    const int end = std::min(kPrefetchDistance + size, num_left);
    for (int ahead = kPrefetchDistance; ahead < end; ++ahead) {
      stripes[CuckooIndex::StripeOf(hashes[ahead])]->PrefetchBucket(
          hashes[ahead]);
    }
  }

  int64_t id(int k) const { return ids[positions[k]]; }
  int64_t position(int k) const { return base + positions[k]; }
};

class StripedBatch {
 public:
  // Calls `work(stripe, run)` for those of ids [n] whose stripes are of
  // `part`, in runs of at most `run_rows`, no lock held; stops when it
  // returns false.
  template <typename Work>
  static void ForEachRun(const int64_t* ids, int64_t n, StripePart part,
                         KeyedHash hash, int run_rows,
                         const std::unique_ptr<Stripe>* stripes,
                         const Work& work) {
    StripedBatch batch;
    const int first_stripe = FirstStripeOfThread();
    for (int64_t base = 0; base < n; base += kCapacity) {
      const int num_ids =
          static_cast<int>(std::min<int64_t>(kCapacity, n - base));
      const int size =
          batch.Sort(ids + base, num_ids, part, hash, first_stripe);
      if (!batch.Visit(ids + base, base, size, run_rows, stripes, work)) {
        return;
      }
    }
  }

 private:
  // Ids sorted at a time: 48 per stripe. More ids would often fill one run of a
  // stripe and leave a second one that is too small to hide its misses.
  static constexpr int kCapacity = 48 * CuckooIndex::kNumStripes;

  // Concurrent threads start at different stripes.
  static int FirstStripeOfThread();

  // Sorts the ids of the part to the front. Returns how many there are.
  int Sort(const int64_t* ids, int num_ids, StripePart part, KeyedHash hash,
           int first_stripe);

  template <typename Work>
  bool Visit(const int64_t* ids, int64_t base, int size, int run_rows,
             const std::unique_ptr<Stripe>* stripes, const Work& work) const {
    const int first = std::min(size, StripeRun::kPrefetchDistance);
    for (int i = 0; i < first; ++i) {
      stripes[CuckooIndex::StripeOf(hashes_[i])]->PrefetchBucket(hashes_[i]);
    }
    for (int begin = 0; begin < size;) {
      const int stripe = CuckooIndex::StripeOf(hashes_[begin]);
      const int limit = std::min(size, begin + run_rows);
      int end = begin + 1;
      while (end < limit && CuckooIndex::StripeOf(hashes_[end]) == stripe) {
        ++end;
      }
      const StripeRun run{
          ids,          hashes_ + begin, positions_ + begin, end - begin, base,
          size - begin, stripes};
      if (!work(stripes[stripe].get(), run)) return false;
      begin = end;
    }
    return true;
  }

  uint64_t unsorted_[kCapacity];
  uint64_t hashes_[kCapacity];
  uint16_t positions_[kCapacity];
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_STRIPED_BATCH_H_
