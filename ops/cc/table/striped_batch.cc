#include "ops/cc/table/striped_batch.h"

#include <atomic>
#include <cstdint>

#include "ops/cc/hash/hash.h"
#include "ops/cc/table/cuckoo_index.h"

namespace monolith_tf {

int StripedBatch::FirstStripeOfThread() {
  static std::atomic<int> next{0};
  // An odd step far from 0 and 64 keeps the first few threads apart.
  static thread_local const int stripe =
      next.fetch_add(27, std::memory_order_relaxed) &
      (CuckooIndex::kNumStripes - 1);
  return stripe;
}

int StripedBatch::Sort(const int64_t* ids, int num_ids, StripePart part,
                       KeyedHash hash, int first_stripe) {
  int ends[CuckooIndex::kNumStripes] = {};
  for (int i = 0; i < num_ids; ++i) {
    unsorted_[i] = hash(ids[i]);
    ++ends[CuckooIndex::StripeOf(unsorted_[i])];
  }
  int begin = 0;
  int size = 0;
  // Ids of other parts go behind: cheaper than a branch an id.
  for (const bool is_wanted : {true, false}) {
    for (int s = 0; s < CuckooIndex::kNumStripes; ++s) {
      const int stripe = (first_stripe + s) & (CuckooIndex::kNumStripes - 1);
      if ((stripe % part.count == part.index) != is_wanted) continue;
      const int stripe_begin = begin;
      begin += ends[stripe];
      ends[stripe] = stripe_begin;
    }
    if (is_wanted) size = begin;
  }
  for (int i = 0; i < num_ids; ++i) {
    const int place = ends[CuckooIndex::StripeOf(unsorted_[i])]++;
    hashes_[place] = unsorted_[i];
    positions_[place] = static_cast<uint16_t>(i);
  }
  return size;
}

}  // namespace monolith_tf
