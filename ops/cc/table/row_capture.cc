#include "ops/cc/table/row_capture.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "ops/cc/table/row.h"

namespace monolith_tf {

void CapturedRows::Append(const Row* row) {
  const int64_t position = size_ % kBlockRows;
  if (position == 0) {
    // operator new[] aligns to 16 bytes, and records to 8.
    blocks_.emplace_back(
        new char[static_cast<size_t>(kBlockRows) * record_bytes_]);
  }
  std::memcpy(
      blocks_.back().get() + static_cast<size_t>(position) * record_bytes_, row,
      record_bytes_);
  ++size_;
}

void RowCapture::Keep(const Row* row) {
  const int64_t before = rows_.bytes();
  rows_.Append(row);
  const int64_t added = rows_.bytes() - before;
  if (added != 0) total_bytes_->fetch_add(added, std::memory_order_relaxed);
  if (mark_ == 0) changed_.insert(row->id);
}

CapturedRows RowCapture::Take() {
  total_bytes_->fetch_sub(rows_.bytes(), std::memory_order_relaxed);
  return std::exchange(rows_, CapturedRows(rows_.record_bytes()));
}

}  // namespace monolith_tf
