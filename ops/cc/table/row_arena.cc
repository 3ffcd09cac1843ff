#include "ops/cc/table/row_arena.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "ops/cc/table/memory_pool.h"

namespace monolith_tf {
namespace {

// Rows of a first segment, as a power of two.
constexpr int kFirstBits = 4;

int64_t StrideOf(int64_t row_width) {
  const int64_t bytes =
      static_cast<int64_t>(sizeof(Row) + row_width * sizeof(float));
  const int64_t lines = (bytes + 63) / 64 * 64;
  const bool is_cheap = (lines - bytes) * 8 <= bytes;
  if (is_cheap) return lines;
  const int64_t packed = (bytes + 15) / 16 * 16;
  // 48 bytes, the one short length that packed rows would straddle with.
  return packed < 64 && 64 % packed != 0 ? 64 : packed;
}

}  // namespace

RowArena::RowArena(int64_t row_width, MemoryPool* pool)
    : stride_(StrideOf(row_width)), max_bits_(0), pool_(pool) {
  while ((stride_ << (max_bits_ + 1)) <= kMaxSegmentBytes) ++max_bits_;
  first_bits_ = std::min(max_bits_, kFirstBits);
}

uint32_t RowArena::Allocate() {
  if (first_free_ != kNoHandle) {
    const uint32_t handle = first_free_;
    first_free_ = static_cast<uint32_t>(At(handle)->id);
    return handle;
  }
  if (end_ == kMaxRows) return kNoHandle;
  if (end_ == capacity_) {
    const int bits =
        std::min(max_bits_, first_bits_ + static_cast<int>(segments_.size()));
    const uint32_t num_rows = std::min(uint32_t{1} << bits, kMaxRows - end_);
    MemoryPool::Segment segment =
        pool_->Allocate(static_cast<size_t>(stride_) << bits);
    if (segment.data == nullptr) return kNoHandle;
    segments_.push_back(segment.data);
    owners_.push_back(std::move(segment.owner));
    capacity_ += num_rows;
  }
  return end_++;
}

void RowArena::Free(uint32_t handle) {
  Row* const row = At(handle);
  row->cut = kFreeRow;
  row->id = first_free_;
  first_free_ = handle;
}

int64_t RowArena::memory_bytes() const {
  return capacity_ * stride_ +
         static_cast<int64_t>(segments_.capacity() * sizeof(segments_[0]) +
                              owners_.capacity() * sizeof(owners_[0]));
}

}  // namespace monolith_tf
