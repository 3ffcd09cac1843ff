#include "ops/cc/table/row_arena.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ops/cc/table/memory_block.h"

namespace monolith_tf {
namespace {

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

RowArena::RowArena(int64_t row_width) : stride_(StrideOf(row_width)) {}

uint32_t RowArena::Allocate() {
  if (first_free_ != kNoHandle) {
    const uint32_t handle = first_free_;
    first_free_ = static_cast<uint32_t>(At(handle)->id);
    return handle;
  }
  if (end_ == kMaxRows) return kNoHandle;
  const uint32_t capacity =
      kFirstChunkRows * ((uint32_t{1} << num_chunks_) - 1);
  if (end_ == capacity) {
    MemoryBlock chunk = MemoryBlock::Allocate(
        (size_t{kFirstChunkRows} << num_chunks_) * stride_);
    if (chunk.empty()) return kNoHandle;
    chunks_[num_chunks_++] = static_cast<MemoryBlock&&>(chunk);
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
  int64_t bytes = 0;
  uint64_t begin = 0;
  for (int chunk = 0; chunk < num_chunks_; ++chunk) {
    const uint64_t rows = uint64_t{kFirstChunkRows} << chunk;
    const uint64_t used = std::min<uint64_t>(rows, end_ - begin);
    bytes += chunks_[chunk].ResidentBytes(used * stride_);
    begin += rows;
  }
  return bytes;
}

}  // namespace monolith_tf
