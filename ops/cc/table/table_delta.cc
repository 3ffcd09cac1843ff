// How a table tells which rows changed.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/cc/memory/copy_floats.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/touched_log.h"

namespace monolith_tf {

void Table::StartTracking(int64_t cut) {
  if (!layout_.tracks_changes()) return;
  for (const auto& stripe : stripes_) {
    SpinLockHolder holder(stripe->lock());
    if (stripe->is_tracking()) continue;
    stripe->SwapTouched(cut);
    stripe->SetTracking(true);
  }
}

void Table::StopTracking() {
  for (const auto& stripe : stripes_) {
    TouchedLog dropped;
    SpinLockHolder holder(stripe->lock());
    // No cut: whatever is stamped from here on differs from the next one.
    dropped = stripe->SwapTouched(0);
    stripe->SetTracking(false);
  }
}

void Table::SwapTouched(int64_t new_cut, std::vector<int64_t>* ids) {
  for (const auto& stripe : stripes_) {
    TouchedLog taken;
    {
      SpinLockHolder holder(stripe->lock());
      taken = stripe->SwapTouched(new_cut);
    }
    if (ids != nullptr) taken.CopyTo(ids);
  }
}

void Table::ValuesOf(const float* rows, int64_t n, float* values) const {
  const int64_t step = last_step_.load(std::memory_order_relaxed);
  for (int64_t i = 0; i < n; ++i) {
    layout_.ValuesOf(rows + i * row_width(), step, values + i * dim());
  }
}

void Table::ReadDelta(const std::vector<int64_t>& ids, bool* exists,
                      std::vector<float>* rows) const {
  const int64_t dim = this->dim();
  const size_t begin = rows->size();
  const size_t n = ids.size();
  rows->resize(begin + n * dim);
  float* const values = rows->data() + begin;
  const int64_t step = last_step_.load(std::memory_order_relaxed);
  stripes_.ForEachRow(
      ids.data(), static_cast<int64_t>(n), layout_.read_bytes(), [](int64_t) {},
      [=](int64_t position, const Row* row) {
        exists[position] = true;
        layout_.Read(row, step, values + position * dim);
      },
      [=](int64_t position) { exists[position] = false; });
  size_t kept = 0;
  for (size_t i = 0; i < n; ++i) {
    if (!exists[i]) continue;
    if (kept != i) CopyFloats(values + i * dim, dim, values + kept * dim);
    ++kept;
  }
  rows->resize(begin + kept * dim);
}

}  // namespace monolith_tf
