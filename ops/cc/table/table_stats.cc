#include "ops/cc/table/table_stats.h"

#include <atomic>
#include <cstdint>

#include "ops/cc/memory/huge_page_share.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/table.h"

namespace monolith_tf {

TableStats Table::stats() const {
  TableStats stats;
  for (const auto& stripe : stripes_) {
    SpinLockHolder holder(stripe->lock());
    stripe->AddStats(&stats);
  }
  stats.num_admitted = num_admitted_.load(std::memory_order_relaxed);
  stats.num_written = num_written_.load(std::memory_order_relaxed);
  stats.num_removed = num_removed_.load(std::memory_order_relaxed);
  stats.num_rejected = num_rejected_.load(std::memory_order_relaxed);
  stats.num_bad_gradients = num_bad_gradients_.load(std::memory_order_relaxed);
  stats.num_future_times = num_future_times_.load(std::memory_order_relaxed);
  stats.num_dropped_logs = num_dropped_logs_.load(std::memory_order_relaxed);
  stats.sketch_bytes = filter_.sketch_bytes();
  stats.pretrained_bytes = layout_.pretrained_bytes();
  stats.pool_bytes = stripes_.pool()->resident_bytes();
  stats.idle_bytes = stripes_.pool()->idle_bytes();
  stats.huge_page_bytes =
      static_cast<int64_t>(HugePageShare(stripes_.pool()->ranges()) *
                           static_cast<double>(stats.pool_bytes));
  return stats;
}

int64_t Table::memory_bytes() const {
  int64_t bytes = sizeof(*this) + kNumStripes * sizeof(Stripe) +
                  stripes_.pool()->idle_bytes() + layout_.pretrained_bytes();
  for (const auto& stripe : stripes_) {
    TableStats stats;
    SpinLockHolder holder(stripe->lock());
    stripe->AddStats(&stats);
    bytes += stats.arena_bytes + stats.counter_bytes + stats.index_bytes +
             stats.log_bytes;
  }
  return bytes + filter_.sketch_bytes();
}

}  // namespace monolith_tf
