// Which ids get a row, and which rows go.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/admission/count_sketch.h"
#include "ops/cc/admission/count_word.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/table.h"

namespace monolith_tf {
namespace {

// Handles looked at, and rows moved, under one hold of a lock on demand.
constexpr int kHandlesPerHold = 256;
constexpr int kMovesPerHold = 64;

template <typename T>
void RaiseTo(T value, std::atomic<T>* target) {
  T seen = target->load(std::memory_order_relaxed);
  while (seen < value && !target->compare_exchange_weak(
                             seen, value, std::memory_order_relaxed)) {
  }
}

}  // namespace

Table::AdmissionKind Table::AdmissionKindOf(const std::string& kind) {
  if (kind == "count") return AdmissionKind::kCount;
  if (kind == "sketch") return AdmissionKind::kSketch;
  if (kind == "probability") return AdmissionKind::kProbability;
  return AdmissionKind::kAll;
}

void Table::SeeTime(uint32_t time) { RaiseTo(time, &clock_); }

void Table::SeeStep(int64_t global_step) { RaiseTo(global_step, &last_step_); }

Clock Table::clock() const {
  return {last_step_.load(std::memory_order_relaxed),
          clock_.load(std::memory_order_relaxed)};
}

absl::Status Table::SetClock(const Clock& clock) {
  absl::Status status = CheckTime("event_time", clock.event_time);
  if (!status.ok()) return status;
  if (clock.global_step < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("table \"", config_.name,
                     "\": the number of the latest update must be ",
                     ">= 0. Received: ", clock.global_step));
  }
  last_step_.store(clock.global_step, std::memory_order_relaxed);
  clock_.store(static_cast<uint32_t>(clock.event_time),
               std::memory_order_relaxed);
  return absl::OkStatus();
}

bool Table::Admits(Stripe* stripe, uint64_t hash, int64_t id, int64_t word,
                   int64_t global_step, uint32_t bucket) const {
  const int64_t occurrences = OccurrencesOf(word);
  const int64_t own_min_count = IsByLot(word) ? 0 : OwnMinCountOf(word);
  const bool is_by_lot =
      IsByLot(word) ||
      (admission_ == AdmissionKind::kProbability && own_min_count == 0);
  const bool wins =
      is_by_lot && WinsLot(id, occurrences, global_step,
                           IsByLot(word) ? OwnProbabilityOf(word)
                                         : config_.admission.probability);
  const int64_t min_count =
      own_min_count > 0 ? own_min_count : config_.admission.min_count;
  // Occurrences are counted however an id is admitted; one that gets its row
  // needs no counter.
  int64_t counted = occurrences;
  if (admission_ == AdmissionKind::kSketch) {
    counted = sketch_->Add(id, occurrences, bucket);
  } else if (admission_ == AdmissionKind::kCount && !wins &&
             (is_by_lot || occurrences < min_count)) {
    counted = stripe->Count(hash, id, occurrences, bucket);
  }
  return is_by_lot ? wins : counted >= min_count;
}

bool Table::WinsLot(int64_t id, int64_t occurrences, int64_t global_step,
                    double probability) const {
  // 1 - (1 - p)^occurrences, with products only.
  double refused = 1;
  double power = 1.0 - probability;
  for (int64_t left = occurrences; left > 0; left >>= 1) {
    if ((left & 1) != 0) refused *= power;
    power *= power;
  }
  const uint64_t bits =
      Mix64(IdKey(~table_key_, id) + static_cast<uint64_t>(global_step));
  return static_cast<double>(bits >> 11) * 0x1p-53 < 1.0 - refused;
}

bool Table::sweeps_counters() const {
  return admission_ == AdmissionKind::kCount && window_.is_limited();
}

void Table::SweepStripe(Stripe* stripe, int num_handles) {
  const int64_t ttl = config_.eviction.ttl_seconds;
  const uint32_t clock = clock_.load(std::memory_order_relaxed);
  if (ttl > 0) {
    stripe->SweepExpired(clock, static_cast<uint32_t>(ttl), num_handles);
  }
  if (sweeps_counters()) {
    stripe->SweepCounters(window_.BucketOf(clock), num_handles);
  }
}

void Table::SweepNextStripe() {
  if (config_.eviction.ttl_seconds == 0 && !sweeps_counters()) return;
  const uint32_t number =
      next_swept_.fetch_add(1, std::memory_order_relaxed) % kNumStripes;
  Stripe* const stripe = stripes_[number].get();
  pool_->Maintain();
  SpinLockHolder holder(stripe->lock());
  const int64_t num_before = stripe->num_rows();
  SweepStripe(stripe, kSweptPerUpdate);
  if (cap_ > 0) {
    num_rows_.fetch_sub(num_before - stripe->num_rows(),
                        std::memory_order_relaxed);
  }
  stripe->Compact(kMovesPerGroup);
  if (pool_->is_scattered()) stripe->MoveSegments();
}

void Table::Maintain(Stripe* stripe, int num_handles) {
  const int64_t num_before = stripe->num_rows();
  SweepStripe(stripe, kSweptPerId * num_handles);
  if (cap_ > 0) {
    num_rows_.fetch_sub(num_before - stripe->num_rows(),
                        std::memory_order_relaxed);
  }
  stripe->Compact(kMovesPerGroup);
  if (pool_->is_scattered()) stripe->MoveSegments();
}

void Table::GatherSegments() {
  // What the pool keeps free is no reason.
  constexpr int64_t kMinIdleBytes = 2 * MemoryPool::kPageBytes;
  bool has_moved = true;
  while (has_moved && pool_->surplus_bytes() > kMinIdleBytes) {
    has_moved = false;
    for (const auto& stripe : stripes_) {
      int64_t num_left;
      {
        SpinLockHolder holder(stripe->lock());
        num_left = stripe->num_segments();
      }
      for (; num_left > 0; --num_left) {
        SpinLockHolder holder(stripe->lock());
        has_moved = stripe->MoveSegments() || has_moved;
      }
    }
  }
}

int64_t Table::Sweep(int64_t event_time) {
  SeeTime(static_cast<uint32_t>(
      std::clamp<int64_t>(event_time, 0, int64_t{0xFFFFFFFF})));
  const uint32_t clock = clock_.load(std::memory_order_relaxed);
  const auto ttl = static_cast<uint32_t>(config_.eviction.ttl_seconds);
  // Updates that run bring the table down to the cap when they end, and spare
  // their own rows, which might go here. The number is read first, so that
  // rows of one that begins now are spared.
  const int64_t spared_from = last_update_.load() + 1;
  int64_t num_gone = num_running_.load() == 0 ? EnforceCap(spared_from) : 0;
  for (const auto& stripe : stripes_) {
    int64_t num_left;
    int64_t num_counters;
    {
      SpinLockHolder holder(stripe->lock());
      num_left = ttl == 0 ? 0 : stripe->rows().end();
      num_counters = window_.is_limited() ? stripe->counters().end() : 0;
      // A row that moves could slip past the hand.
      stripe->Pin();
    }
    for (; num_left > 0; num_left -= kHandlesPerHold) {
      SpinLockHolder holder(stripe->lock());
      const int64_t gone = stripe->SweepExpired(clock, ttl, kHandlesPerHold);
      num_gone += gone;
      if (cap_ > 0) num_rows_.fetch_sub(gone, std::memory_order_relaxed);
    }
    for (; num_counters > 0; num_counters -= kHandlesPerHold) {
      SpinLockHolder holder(stripe->lock());
      stripe->SweepCounters(window_.BucketOf(clock), kHandlesPerHold);
    }
    {
      SpinLockHolder holder(stripe->lock());
      stripe->Unpin();
    }
    for (bool is_done = false; !is_done;) {
      pool_->Maintain();
      SpinLockHolder holder(stripe->lock());
      is_done = stripe->Compact(kMovesPerHold, /*to_the_last=*/true) == 0;
    }
  }
  GatherSegments();
  while (pool_->Maintain()) {
  }
  return num_gone;
}

}  // namespace monolith_tf
