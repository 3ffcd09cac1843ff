// How a table moves its clock, and removes what expired.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <ctime>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"
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

int64_t Table::ServerTime() {
  return std::min<int64_t>(std::time(nullptr), UINT32_MAX);
}

void Table::SeeTime(uint32_t time) { RaiseTo(time, &clock_); }

void Table::SeeStep(int64_t global_step) { RaiseTo(global_step, &last_step_); }

Clock Table::clock() const {
  return {last_step_.load(std::memory_order_relaxed),
          clock_.load(std::memory_order_relaxed)};
}

int64_t Table::LatestAccepted() const {
  const int64_t ahead = config_.eviction.max_future_seconds;
  if (ahead == 0) return UINT32_MAX;
  return ahead + std::max<int64_t>(ServerTime(),
                                   clock_.load(std::memory_order_relaxed));
}

int64_t Table::AcceptTime(int64_t event_time) {
  const uint32_t latest = clock_.load(std::memory_order_relaxed);
  // Mostly without a look at the server's clock.
  if (event_time <= latest || event_time <= LatestAccepted() ||
      event_time > UINT32_MAX) {
    return event_time;
  }
  num_future_times_.fetch_add(1, std::memory_order_relaxed);
  return latest == 0 ? ServerTime() : latest;
}

absl::StatusOr<bool> Table::RestoreClock(const Clock& clock) {
  lost_clock_ = false;
  clock_ = 0;
  const bool is_believed = clock.event_time <= LatestAccepted();
  const absl::Status status =
      SetClock({clock.global_step, is_believed ? clock.event_time : 0});
  if (!status.ok()) return status;
  if (is_believed) return true;
  num_future_times_.fetch_add(1, std::memory_order_relaxed);
  lost_clock_ = true;
  return false;
}

absl::Status Table::SetClock(const Clock& clock) {
  absl::Status status = CheckTime("event_time", clock.event_time);
  if (!status.ok()) return status;
  if (clock.global_step < -1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Table '", config_.name, "': the number of the latest update must be ",
        ">= 0, or -1 to keep it. Received: ", clock.global_step));
  }
  const int64_t ahead = config_.eviction.max_future_seconds;
  if (ahead != 0 && clock.event_time > ServerTime() + ahead) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Table '", config_.name, "': the clock must be at most ", ahead,
        " seconds (max_future_seconds) ahead of the server's, ", ServerTime(),
        ". Received: event_time ", clock.event_time, "."));
  }
  if (clock.global_step >= 0) {
    last_step_.store(clock.global_step, std::memory_order_relaxed);
  }
  clock_.store(static_cast<uint32_t>(clock.event_time),
               std::memory_order_relaxed);
  return absl::OkStatus();
}

void Table::SweepStripe(Stripe* stripe, int num_handles) {
  const int64_t ttl = config_.eviction.ttl_seconds;
  const uint32_t clock = clock_.load(std::memory_order_relaxed);
  if (ttl > 0) {
    stripe->SweepExpired(clock, static_cast<uint32_t>(ttl), num_handles);
  }
  filter_.Sweep(stripe, clock, num_handles);
}

void Table::SweepNextStripe() {
  if (config_.eviction.ttl_seconds == 0 && !filter_.has_expiring_counters()) {
    return;
  }
  const uint32_t number =
      next_swept_.fetch_add(1, std::memory_order_relaxed) % kNumStripes;
  Stripe* const stripe = stripes_.at(static_cast<int>(number));
  stripes_.pool()->Maintain();
  SpinLockHolder holder(stripe->lock());
  const int64_t num_before = stripe->num_rows();
  SweepStripe(stripe, kSweptPerUpdate);
  cap_.AddRows(stripe->num_rows() - num_before);
  stripes_.Compact(stripe);
}

void Table::Maintain(Stripe* stripe, int num_handles) {
  const int64_t num_before = stripe->num_rows();
  SweepStripe(stripe, kSweptPerId * num_handles);
  cap_.AddRows(stripe->num_rows() - num_before);
  stripes_.Compact(stripe);
}

void Table::GatherSlabs() {
  // What the pool keeps free is no reason.
  constexpr int64_t kMinIdleBytes = 2 * MemoryPool::kPageBytes;
  bool has_moved = true;
  while (has_moved && stripes_.pool()->surplus_bytes() > kMinIdleBytes) {
    has_moved = false;
    for (const auto& stripe : stripes_) {
      int64_t num_left;
      {
        SpinLockHolder holder(stripe->lock());
        num_left = stripe->num_slabs();
      }
      for (; num_left > 0; --num_left) {
        SpinLockHolder holder(stripe->lock());
        has_moved = stripe->MoveSlabs() || has_moved;
      }
    }
  }
}

int64_t Table::Sweep(int64_t event_time) {
  SeeTime(static_cast<uint32_t>(
      AcceptTime(std::clamp<int64_t>(event_time, 0, int64_t{0xFFFFFFFF}))));
  const uint32_t clock = clock_.load(std::memory_order_relaxed);
  const auto ttl = static_cast<uint32_t>(config_.eviction.ttl_seconds);
  int64_t num_gone = cap_.EnforceIfIdle();
  for (const auto& stripe : stripes_) {
    int64_t num_left;
    int64_t num_counters;
    {
      SpinLockHolder holder(stripe->lock());
      num_left = ttl == 0 ? 0 : stripe->rows().end();
      num_counters =
          filter_.has_expiring_counters() ? stripe->counters().end() : 0;
      // A row that moves could slip past the hand.
      stripe->Pin();
    }
    for (; num_left > 0; num_left -= kHandlesPerHold) {
      SpinLockHolder holder(stripe->lock());
      const int64_t gone = stripe->SweepExpired(clock, ttl, kHandlesPerHold);
      num_gone += gone;
      cap_.AddRows(-gone);
    }
    for (; num_counters > 0; num_counters -= kHandlesPerHold) {
      SpinLockHolder holder(stripe->lock());
      filter_.Sweep(stripe.get(), clock, kHandlesPerHold);
    }
    {
      SpinLockHolder holder(stripe->lock());
      stripe->Unpin();
    }
    for (bool is_done = false; !is_done;) {
      stripes_.pool()->Maintain();
      SpinLockHolder holder(stripe->lock());
      is_done = stripe->Compact(kMovesPerHold, /*to_the_last=*/true) == 0;
    }
  }
  GatherSlabs();
  while (stripes_.pool()->Maintain()) {
  }
  return num_gone;
}

}  // namespace monolith_tf
