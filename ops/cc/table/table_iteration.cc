// How a table is walked: by stripe and row handle, not by bucket, because
// buckets change under growth and rows never move.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/cc/table/copy_floats.h"
#include "ops/cc/table/memory_block.h"
#include "ops/cc/table/memory_pool.h"
#include "ops/cc/table/partition.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/spin_lock.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_rows.h"

namespace monolith_tf {
namespace {

// Handles looked at under one hold of a lock: free ones are cheap.
constexpr int64_t kHandlesPerHold = 256;

}  // namespace

int64_t Table::ExportChunk(int64_t cursor, int64_t max_rows,
                           std::vector<int64_t>* ids, std::vector<float>* rows,
                           std::vector<int64_t>* last_update) const {
  // A cursor is a stripe in the upper half, a handle in the lower.
  if (cursor < 0 || (cursor >> 32) >= kNumStripes) return -1;
  int stripe_number = static_cast<int>(cursor >> 32);
  int64_t handle = cursor & 0xFFFFFFFF;
  int64_t num_left = std::max<int64_t>(max_rows, 1);
  while (num_left > 0) {
    const Stripe& stripe = *stripes_[stripe_number];
    const int64_t limit = std::min<int64_t>(num_left, group_rows_);
    // Room for the group is made before the lock is taken.
    const size_t old_ids = ids == nullptr ? 0 : ids->size();
    const size_t old_rows = rows == nullptr ? 0 : rows->size();
    const size_t old_times = last_update == nullptr ? 0 : last_update->size();
    if (ids != nullptr) ids->resize(old_ids + limit);
    if (rows != nullptr) rows->resize(old_rows + limit * row_width_);
    if (last_update != nullptr) last_update->resize(old_times + limit);
    int64_t count = 0;
    bool is_done = false;
    {
      SpinLockHolder holder(stripe.lock());
      const int64_t end = stripe.arena().end();
      const int64_t last = std::min(end, handle + kHandlesPerHold);
      for (; handle < last && count < limit; ++handle) {
        if (!stripe.arena().IsUsed(static_cast<uint32_t>(handle))) continue;
        const Row* row = stripe.At(static_cast<uint32_t>(handle));
        if (ids != nullptr) (*ids)[old_ids + count] = row->id;
        if (last_update != nullptr) {
          (*last_update)[old_times + count] = row->last_update;
        }
        if (rows != nullptr) {
          CopyFloats(row->values(), row_width_,
                     rows->data() + old_rows + count * row_width_);
        }
        ++count;
      }
      is_done = handle >= end;
    }
    if (ids != nullptr) ids->resize(old_ids + count);
    if (rows != nullptr) rows->resize(old_rows + count * row_width_);
    if (last_update != nullptr) last_update->resize(old_times + count);
    num_left -= count;
    if (is_done) {
      handle = 0;
      if (++stripe_number == kNumStripes) return -1;
    }
  }
  return (static_cast<int64_t>(stripe_number) << 32) | handle;
}

void Table::CollectIds(const Stripe& stripe, int first_group, int last_group,
                       std::vector<std::vector<int64_t>>* ids_of_group) const {
  int64_t ids[kHandlesPerHold];
  int64_t handle = 0;
  bool is_done = false;
  while (!is_done) {
    int64_t count = 0;
    {
      SpinLockHolder holder(stripe.lock());
      const int64_t end = stripe.arena().end();
      const int64_t last = std::min(end, handle + kHandlesPerHold);
      for (; handle < last; ++handle) {
        if (!stripe.arena().IsUsed(static_cast<uint32_t>(handle))) continue;
        ids[count++] = stripe.At(static_cast<uint32_t>(handle))->id;
      }
      is_done = handle >= end;
    }
    for (int64_t i = 0; i < count; ++i) {
      const int group = GroupOf(ids[i]);
      if (group >= first_group && group < last_group) {
        (*ids_of_group)[group - first_group].push_back(ids[i]);
      }
    }
  }
}

void Table::ExportGroups(int first_group, int last_group,
                         std::vector<int64_t>* group_counts,
                         std::vector<int64_t>* ids,
                         std::vector<int64_t>* last_update,
                         std::vector<float>* rows) const {
  first_group = std::clamp(first_group, 0, kNumGroups);
  last_group = std::clamp(last_group, first_group, kNumGroups);
  std::vector<std::vector<int64_t>> ids_of_group(last_group - first_group);
  for (const auto& stripe : stripes_) {
    CollectIds(*stripe, first_group, last_group, &ids_of_group);
  }
  group_counts->clear();
  ids->clear();
  last_update->clear();
  rows->clear();
  std::vector<char> exists;
  for (std::vector<int64_t>& members : ids_of_group) {
    std::sort(members.begin(), members.end());
    // A row that was removed and inserted meanwhile is walked over twice.
    members.erase(std::unique(members.begin(), members.end()), members.end());
    const size_t begin = ids->size();
    const size_t n = members.size();
    ids->insert(ids->end(), members.begin(), members.end());
    last_update->resize(begin + n);
    rows->resize((begin + n) * row_width_);
    exists.assign(n, 0);
    ForEachRow(
        members.data(), static_cast<int64_t>(n), row_width_ * sizeof(float),
        [&](int64_t position, const Row& row) {
          exists[position] = 1;
          (*last_update)[begin + position] = row.last_update;
          CopyFloats(row.values(), row_width_,
                     rows->data() + (begin + position) * row_width_);
        },
        [](int64_t) {});
    members = std::vector<int64_t>();
    // Rows that were removed meanwhile are taken out.
    size_t kept = begin;
    for (size_t i = begin; i < begin + n; ++i) {
      if (!exists[i - begin]) continue;
      if (kept != i) {
        (*ids)[kept] = (*ids)[i];
        (*last_update)[kept] = (*last_update)[i];
        CopyFloats(rows->data() + i * row_width_, row_width_,
                   rows->data() + kept * row_width_);
      }
      ++kept;
    }
    ids->resize(kept);
    last_update->resize(kept);
    rows->resize(kept * row_width_);
    group_counts->push_back(static_cast<int64_t>(kept - begin));
  }
}

void Table::Clear() {
  for (const auto& stripe : stripes_) {
    std::vector<MemoryPool::Segment> index;
    RowArena rows(sizeof(Row) + row_width_ * sizeof(float), pool_.get());
    bool is_tracking;
    {
      SpinLockHolder holder(stripe->lock());
      is_tracking = stripe->is_tracking();
      stripe->Clear(&index, &rows);
    }
    // The rows are gone for everybody; their ids are logged a few at a time.
    // A cut in between gives the rest to the next.
    for (int64_t handle = 0; is_tracking && handle < rows.end();) {
      const int64_t last =
          std::min<int64_t>(rows.end(), handle + kHandlesPerHold);
      SpinLockHolder holder(stripe->lock());
      for (; handle < last; ++handle) {
        if (!rows.IsUsed(static_cast<uint32_t>(handle))) continue;
        stripe->LogRemoval(reinterpret_cast<Row*>(rows.At(handle))->id);
      }
    }
  }
  while (pool_->Maintain()) {
  }
}

}  // namespace monolith_tf
