// table_rows.h
//
// How the methods of Table read rows: the body of Table::ForEachRow, shared
// by the files that implement them.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_ROWS_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "ops/cc/memory/copy_floats.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/striped_batch.h"
#include "ops/cc/table/table.h"

namespace monolith_tf {

template <typename Fetch, typename Found, typename Missing>
void Table::ForEachRow(const int64_t* ids, int64_t n, size_t bytes,
                       const Fetch& fetch, const Found& found,
                       const Missing& missing) const {
  static_assert(kMaxGroupRows <= Stripe::kMaxCandidates, "a group is a search");
  StripedBatch::ForEachGroup(
      ids, n, StripePart(), hash_, group_rows_, stripes_,
      [&](Stripe* stripe, const StripedGroup& group) {
        group.PrefetchAhead();
        int64_t absent[kMaxGroupRows];
        int num_absent = 0;
        {
          SpinLockHolder holder(stripe->lock());
          uint32_t candidates[kMaxGroupRows];
          stripe->FindCandidates(
              group.hashes, group.size, bytes,
              [&](int k) { fetch(group.position(k)); }, candidates);
          for (int k = 0; k < group.size; ++k) {
            const Row* row =
                stripe->FindAt(candidates[k], group.hashes[k], group.id(k));
            if (row != nullptr) {
              found(group.position(k), row);
            } else {
              absent[num_absent++] = group.position(k);
            }
          }
        }
        for (int k = 0; k < num_absent; ++k) missing(absent[k]);
        return true;
      });
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_ROWS_H_
