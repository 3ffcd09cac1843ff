// cap_enforcer.h
//
// Keeps a table within the capacity limit of its EvictionConfig: counts rows,
// numbers the changes of the table, and evicts the lowest rows by the policy
// when a change ends.
//
//   BeginUpdate() -> number   rows that the change touches get the number
//   ... AddRows(delta) ...    under the lock of the stripe that changed
//   EndUpdate(number)         evicts what is above the limit now, rows with
//                             this number or a later one last
//
// A limit below kSmallCap evicts the lowest rows of all. A larger one evicts
// the lowest of small random samples, as Redis does.
//
// Thread safety: every method may be called from any number of threads, with
// no lock of a stripe held (AddRows: with or without). Changes that end
// together evict no row twice. No lock is held for more than
// Stripe::kNextHandles rows, except below kSmallCap.
//
// Cost. AddRows, BeginUpdate: an atomic add. EndUpdate: O(1) within the limit
// (O(stripes) if admission counters count against max_bytes). Above it, about
// kSampleRows / kMaxVictims rows are read per evicted row; below kSmallCap all
// rows are read, once per call.

#ifndef MONOLITH_TF_OPS_CC_TABLE_CAP_ENFORCER_H_
#define MONOLITH_TF_OPS_CC_TABLE_CAP_ENFORCER_H_

#include <atomic>
#include <cstdint>
#include <mutex>

#include "ops/cc/config/table_config.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"

namespace monolith_tf {

// A change of rows that is made in parts: an update, an assignment or an
// import. The table begins and ends it, once each.
struct RunningUpdate {
  // Among the changes of the table: 1 for the first.
  int64_t number = 0;
};

// The size up to which slabs of rows grow in a table with this limit:
// slabs that its stripes have just begun count too, so they are kept small
// relative to max_bytes.
int64_t SlabBytesOf(const EvictionConfig& eviction);

class CapEnforcer {
 public:
  // Below it, the lowest of all rows are evicted.
  static constexpr int64_t kSmallCap = 4096;

  // `config`, `layout` and `stripes` outlive it. The layout numbers updates if
  // there is a limit.
  CapEnforcer(const TableConfig& config, const RowLayout* layout,
              const StripeSet* stripes);
  CapEnforcer(const CapEnforcer&) = delete;
  CapEnforcer& operator=(const CapEnforcer&) = delete;

  bool has_cap() const { return cap_ > 0; }
  // The most rows, while no admission counter takes of max_bytes; 0 without a
  // limit.
  int64_t cap() const { return cap_; }
  // Whether the policy reads Row::frequency.
  bool needs_frequency() const {
    return cap_ > 0 && policy_ == EvictionPolicy::kLfu;
  }

  // Rows were inserted (or, below 0, removed).
  void AddRows(int64_t delta) {
    if (cap_ > 0) num_rows_.fetch_add(delta, std::memory_order_relaxed);
  }

  RunningUpdate BeginUpdate();
  // Ends a change after all of its parts, whether they succeeded or not.
  // Returns how many rows were evicted.
  int64_t EndUpdate(RunningUpdate update);
  // Evicts outside of a change, unless one is running: that evicts when it
  // ends. Returns how many rows were evicted.
  int64_t EnforceIfIdle();

 private:
  // The limit now: cap_, or less where max_bytes pays for counters too.
  int64_t PresentCap() const;
  int64_t Enforce(int64_t spared_from);
  int64_t EnforceSmallCap(int64_t cap, int64_t spared_from);
  int64_t EnforceLargeCap(int64_t cap, int64_t spared_from);
  // One pass over the stripes. From those with more than `min_rows` rows,
  // evict(stripe, num_rows) removes up to `most_at_once` under each hold of the
  // lock, until no row is above the limit or `patience` calls in a row found
  // nothing; 0: as many calls as go over the whole stripe. Returns how many
  // rows were evicted.
  template <typename Evict>
  int64_t EvictFromStripes(int64_t cap, int64_t min_rows, int most_at_once,
                           int patience, const Evict& evict);
  // Takes up to `most` of the rows above the limit off num_rows_, for the
  // caller to evict, so that changes that end together evict none twice. The
  // caller adds back what it did not find.
  int64_t ClaimExcess(int64_t cap, int64_t most);

  const EvictionConfig& eviction_;
  const RowLayout* const layout_;
  const StripeSet* const stripes_;
  const EvictionPolicy policy_;
  const int64_t cap_;
  // Whether ids that wait for admission take of max_bytes.
  const bool pays_for_counters_;
  std::atomic<int64_t> num_rows_{0};
  // The number of the last change that began; how many did not end.
  std::atomic<int64_t> last_update_{0};
  std::atomic<int64_t> num_running_{0};
  // The stripe that the next change evicts from first.
  std::atomic<uint32_t> next_stripe_{0};
  std::mutex small_cap_mutex_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_CAP_ENFORCER_H_
