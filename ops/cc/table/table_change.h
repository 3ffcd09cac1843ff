// table_change.h
//
// The body of Table::ChangeRows, by which all methods of Table change rows.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_CHANGE_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_CHANGE_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"
#include "ops/cc/table/striped_batch.h"
#include "ops/cc/table/table.h"

namespace monolith_tf {

template <typename Prepare, typename Fetch, typename Decide,
          typename Initialize, typename Update>
absl::Status Table::ChangeRows(const int64_t* ids, int64_t n, StripePart part,
                               int64_t number, const Prepare& prepare,
                               const Fetch& fetch, const Decide& decide,
                               const Initialize& initialize,
                               const Update& update) {
  absl::Status status;
  const size_t bytes = layout_.record_bytes();
  const auto ttl = static_cast<uint32_t>(config_.eviction.ttl_seconds);
  // Not the event time of the request, so that it makes no difference how far
  // the sweep has come.
  const uint32_t clock = clock_.load(std::memory_order_relaxed);
  const bool numbers_updates = layout_.numbers_updates();
  stripes_.ForEachRun(ids, n, part, [&](Stripe* stripe, const StripeRun& run) {
    stripes_.pool()->Maintain();
    run.PrefetchAhead();
    prepare(run);
    SpinLockHolder holder(stripe->lock());
    uint32_t candidates[StripeSet::kMaxRunRows];
    stripe->FindCandidates(
        run.hashes, run.size, bytes, [&](int k) { fetch(run.position(k)); },
        candidates);
    Row* rows[StripeSet::kMaxRunRows];
    int picks[StripeSet::kMaxRunRows];
    int count = 0;
    // Since the candidates were looked up.
    bool has_new = false;
    bool has_expired = false;
    bool is_full = false;
    const int64_t num_before = stripe->num_rows();
    for (int k = 0; k < run.size; ++k) {
      const int64_t id = run.id(k);
      const uint64_t hash = run.hashes[k];
      Row* row = has_expired ? stripe->Find(hash, id)
                             : stripe->FindAt(candidates[k], hash, id);
      // An id that comes twice in this run may just have got its row.
      if (row == nullptr && has_new) row = stripe->Find(hash, id);
      if (ttl > 0 && row != nullptr && Stripe::IsExpired(row, clock, ttl) &&
          std::find(rows, rows + count, row) == rows + count) {
        stripe->Expire(hash, id);
        row = nullptr;
        has_expired = true;
      }
      const Decision decision = decide(stripe, run, k, row);
      if (decision == Decision::kSkip) continue;
      if (decision == Decision::kInsert) {
        row = stripe->Insert(hash, id);
        is_full = row == nullptr;
        if (is_full) break;
        initialize(run, k, row);
        has_new = true;
      }
      stripe->Stamp(row);
      if (numbers_updates) layout_.SetUpdate(row, number);
      rows[count] = row;
      picks[count++] = k;
    }
    update(run, rows, picks, count);
    cap_.AddRows(stripe->num_rows() - num_before);
    Maintain(stripe, run.size);
    if (!is_full) return true;
    status = OutOfMemory();
    return false;
  });
  return status;
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_CHANGE_H_
