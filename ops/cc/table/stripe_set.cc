#include "ops/cc/table/stripe_set.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"

namespace monolith_tf {

StripeSet::StripeSet(const RowLayout* layout, KeyedHash hash,
                     int64_t max_slab_bytes)
    : hash_(hash),
      run_rows_(static_cast<int>(std::clamp<int64_t>(
          kMaxRunBytes / static_cast<int64_t>(layout->record_bytes()), 1,
          kMaxRunRows))),
      pool_(std::make_unique<MemoryPool>()) {
  for (int number = 0; number < kNumStripes; ++number) {
    stripes_[number] = std::make_unique<Stripe>(
        number, layout, hash, pool_.get(), &log_bytes_, max_slab_bytes);
  }
}

int64_t StripeSet::num_rows() const {
  int64_t num_rows = 0;
  for (const auto& stripe : stripes_) {
    SpinLockHolder holder(stripe->lock());
    num_rows += stripe->num_rows();
  }
  return num_rows;
}

}  // namespace monolith_tf
