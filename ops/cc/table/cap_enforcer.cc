#include "ops/cc/table/cap_enforcer.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ops/cc/config/table_config.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"

namespace monolith_tf {
namespace {

constexpr int64_t kSpareNone = std::numeric_limits<int64_t>::max();

EvictionPolicy PolicyOf(const std::string& name) {
  if (name == "lfu") return EvictionPolicy::kLfu;
  if (name == "lowest_norm") return EvictionPolicy::kLowestNorm;
  return EvictionPolicy::kLru;
}

// What a row takes of max_bytes, and an id that waits for admission where it is
// counted exactly: all that grows with them, at its worst. So the arenas
// and the index of a table that was swept keep within max_bytes, of 1 MiB
// within 2 % more.
struct CappedBytes {
  double of_row;
  double of_counter;
};

CappedBytes CappedBytesOf(const EvictionConfig& eviction,
                          const RowLayout& layout) {
  // An index that shrinks keeps buckets until its load is 3/4 of what it is
  // just after a split: 10.9 bytes there (cuckoo_index.h).
  constexpr double kIndexBytes = 10.9 * 4 / 3;
  // The bits of a record, and what is known of a slab, in vectors that have
  // room for twice as much (row_arena.h).
  constexpr double kBitsBytes = 2 * 1.02 / 8;
  constexpr double kBytesOfSlab = 2 * 64;
  // Of tables so small that a slab a stripe is more than this, that is
  // beyond max_bytes.
  constexpr double kMaxShareBegun = 0.1;
  const auto bytes_in = [&](const RowArena& arena) {
    const auto slab_bytes = static_cast<double>(arena.max_slab_bytes());
    // The last slabs of the stripes, which may just have been begun: stripes
    // fill evenly.
    const double share_begun =
        std::min(kMaxShareBegun, StripeSet::kNumStripes * slab_bytes /
                                     static_cast<double>(eviction.max_bytes));
    return static_cast<double>(arena.stride()) *
               (1 + kBytesOfSlab / slab_bytes) / (1 - share_begun) +
           kIndexBytes + kBitsBytes;
  };
  const int64_t slab_bytes = SlabBytesOf(eviction);
  return {
      bytes_in(RowArena(layout.record_bytes(), /*pool=*/nullptr, slab_bytes)),
      bytes_in(RowArena(sizeof(Counter), /*pool=*/nullptr, slab_bytes))};
}

// The most rows that `eviction` allows, 0 for any number: of max_rows and
// max_bytes what is less, and at least 1.
int64_t CapOf(const EvictionConfig& eviction, const RowLayout& layout) {
  if (eviction.max_bytes == 0) return eviction.max_rows;
  const auto rows = std::max<int64_t>(
      1, static_cast<int64_t>(static_cast<double>(eviction.max_bytes) /
                              CappedBytesOf(eviction, layout).of_row));
  return eviction.max_rows == 0 ? rows : std::min(eviction.max_rows, rows);
}

}  // namespace

int64_t SlabBytesOf(const EvictionConfig& eviction) {
  // What is less would take more to keep account of than it saves.
  constexpr int64_t kMinBytes = 2048;
  constexpr int64_t kSlabsPerStripe = 16;
  if (eviction.max_bytes == 0) return RowArena::kMaxSlabBytes;
  return std::clamp(
      eviction.max_bytes / (StripeSet::kNumStripes * kSlabsPerStripe),
      kMinBytes, RowArena::kMaxSlabBytes);
}

CapEnforcer::CapEnforcer(const TableConfig& config, const RowLayout* layout,
                         const StripeSet* stripes)
    : eviction_(config.eviction),
      layout_(layout),
      stripes_(stripes),
      policy_(PolicyOf(config.eviction.policy)),
      cap_(CapOf(config.eviction, *layout)),
      pays_for_counters_(config.eviction.max_bytes > 0 &&
                         config.admission.kind == "count") {}

RunningUpdate CapEnforcer::BeginUpdate() {
  // In this order, for EnforceIfIdle.
  num_running_.fetch_add(1);
  return {last_update_.fetch_add(1) + 1};
}

int64_t CapEnforcer::EndUpdate(RunningUpdate update) {
  const int64_t num_gone = Enforce(update.number);
  num_running_.fetch_sub(1);
  return num_gone;
}

int64_t CapEnforcer::EnforceIfIdle() {
  // A running change spares its own rows, which might be evicted here. The
  // number is read first, so that rows of one that begins now are spared.
  const int64_t spared_from = last_update_.load() + 1;
  return num_running_.load() == 0 ? Enforce(spared_from) : 0;
}

int64_t CapEnforcer::PresentCap() const {
  if (!pays_for_counters_) return cap_;
  int64_t num_counters = 0;
  for (const auto& stripe : *stripes_) {
    SpinLockHolder holder(stripe->lock());
    num_counters += stripe->counters().size();
  }
  const CappedBytes bytes = CappedBytesOf(eviction_, *layout_);
  const auto max_bytes = static_cast<double>(eviction_.max_bytes);
  // Ids that wait never take more than half from those that were admitted.
  const double left =
      std::max(max_bytes / 2, max_bytes - static_cast<double>(num_counters) *
                                              bytes.of_counter);
  return std::clamp<int64_t>(static_cast<int64_t>(left / bytes.of_row), 1,
                             cap_);
}

int64_t CapEnforcer::Enforce(int64_t spared_from) {
  if (cap_ == 0) return 0;
  const int64_t cap = PresentCap();
  if (num_rows_.load() <= cap) return 0;
  return cap_ < kSmallCap ? EnforceSmallCap(cap, spared_from)
                          : EnforceLargeCap(cap, spared_from);
}

int64_t CapEnforcer::ClaimExcess(int64_t cap, int64_t most) {
  int64_t num_rows = num_rows_.load();
  for (;;) {
    const int64_t claimed = std::min(most, num_rows - cap);
    if (claimed <= 0) return 0;
    if (num_rows_.compare_exchange_weak(num_rows, num_rows - claimed)) {
      return claimed;
    }
  }
}

int64_t CapEnforcer::EnforceSmallCap(int64_t cap, int64_t spared_from) {
  // Rounds in which a victim is let go that others changed since it was
  // chosen; then none is, so that this ends.
  constexpr int kForgivingRounds = 3;
  std::lock_guard<std::mutex> lock(small_cap_mutex_);
  int64_t num_gone = 0;
  std::vector<float> scratch(layout_->dim());
  for (int round = 0; round <= kForgivingRounds; ++round) {
    const int64_t num_wanted =
        ClaimExcess(cap, std::numeric_limits<int64_t>::max());
    if (num_wanted == 0) break;
    // The spared ones behind all others.
    std::vector<std::pair<bool, Stripe::Rank>> rows;
    for (const auto& stripe : *stripes_) {
      SpinLockHolder holder(stripe->lock());
      const RowArena& arena = stripe->rows();
      for (uint32_t handle = arena.NextUsed(0); handle < arena.end();
           handle = arena.NextUsed(handle + 1)) {
        const Row* const row = stripe->RowAt(handle);
        rows.emplace_back(layout_->UpdateOf(row) >= spared_from,
                          stripe->RankOf(row, policy_, scratch.data()));
      }
    }
    const int64_t num_victims =
        std::min<int64_t>(num_wanted, static_cast<int64_t>(rows.size()));
    std::nth_element(rows.begin(), rows.begin() + num_victims, rows.end());
    int64_t num_here = 0;
    for (int64_t i = 0; i < num_victims; ++i) {
      const auto& [is_spared, rank] = rows[i];
      const uint64_t hash = stripes_->hash()(rank.id);
      Stripe* const stripe = stripes_->Of(hash);
      SpinLockHolder holder(stripe->lock());
      num_here += stripe->EvictForCap(
          hash, rank.id,
          round < kForgivingRounds ? rank.update + 1 : kSpareNone);
      stripe->Compact(StripeSet::kMovesPerRun);
    }
    num_rows_.fetch_add(num_wanted - num_here);
    num_gone += num_here;
  }
  return num_gone;
}

template <typename Evict>
int64_t CapEnforcer::EvictFromStripes(int64_t cap, int64_t min_rows,
                                      int most_at_once, int patience,
                                      const Evict& evict) {
  const uint32_t first = next_stripe_.fetch_add(1, std::memory_order_relaxed);
  int64_t num_gone = 0;
  for (uint32_t i = 0; i < StripeSet::kNumStripes; ++i) {
    Stripe* const stripe =
        stripes_->at(static_cast<int>((first + i) % StripeSet::kNumStripes));
    // Since the last call that found a row.
    int64_t num_empty_handed = 0;
    for (bool is_done = false; !is_done;) {
      stripes_->pool()->Maintain();
      SpinLockHolder holder(stripe->lock());
      const int64_t num_wanted = ClaimExcess(
          cap, std::min<int64_t>(most_at_once, stripe->num_rows() - min_rows));
      if (num_wanted == 0) break;
      const int num_here = evict(stripe, static_cast<int>(num_wanted));
      num_rows_.fetch_add(num_wanted - num_here);
      num_gone += num_here;
      num_empty_handed = num_here == 0 ? num_empty_handed + 1 : 0;
      // The calls at the end and at the hand may look at less.
      const int64_t once_around =
          stripe->rows().end() / Stripe::kNextHandles + 2;
      is_done = num_empty_handed >= (patience > 0 ? patience : once_around);
      stripes_->Compact(stripe);
    }
  }
  return num_gone;
}

int64_t CapEnforcer::EnforceLargeCap(int64_t cap, int64_t spared_from) {
  std::vector<float> scratch(
      policy_ == EvictionPolicy::kLowestNorm ? layout_->dim() : 0);
  // As long as there are more rows than the cap, a stripe has more than this.
  const int64_t share = cap / StripeSet::kNumStripes;
  // Samples that find only spared rows end it: then these are many.
  int64_t num_gone =
      EvictFromStripes(cap, share, Stripe::kMaxVictims, /*patience=*/1,
                       [&](Stripe* stripe, int num_rows) {
                         return stripe->EvictLowest(
                             policy_, num_rows, spared_from, scratch.data());
                       });
  // So it is no more than in proportion to them to look at all rows, in stripes
  // that have fewer than their share too.
  num_gone +=
      EvictFromStripes(cap, /*min_rows=*/0, StripeSet::kMaxRunRows,
                       /*patience=*/0, [&](Stripe* stripe, int num_rows) {
                         return stripe->EvictLowestOfNext(
                             policy_, num_rows, spared_from, scratch.data());
                       });
  // Only spared rows are left. A pass that finds none ends it: what others
  // insert meanwhile is theirs to bring down.
  for (int64_t num_here = 1; num_here > 0 && num_rows_.load() > cap;) {
    num_here =
        EvictFromStripes(cap, share, Stripe::kMaxVictims, /*patience=*/1,
                         [&](Stripe* stripe, int num_rows) {
                           return stripe->EvictLowest(
                               policy_, num_rows, kSpareNone, scratch.data());
                         });
    num_gone += num_here;
  }
  return num_gone;
}

}  // namespace monolith_tf
