// row_arena.h
//
// The rows of one stripe, in segments of 16, 32, 64 ... rows up to about
// kMaxSegmentBytes, then all of that size. A row is named by a 32-bit handle
// and never moves, so a pointer to it stays good until it is freed; handles
// 0, 1, 2 ... are given in order, and freed ones again first.
//
// A row
//
//   0         8         12            16
//   +---------+---------+-------------+----------------------------------+
//   | id      | cut     | last update | floats [row_width]               |
//   +---------+---------+-------------+----------------------------------+
//
// padded to the next 64 bytes when that costs at most 12.5 % or the row would
// straddle two lines without need, else to the next 16.
//
// Memory comes from the table's pool; a freed row keeps its memory for the
// next. Not thread-safe.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_ARENA_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cc/table/memory_block.h"
#include "ops/cc/table/memory_pool.h"
#include "ops/cc/table/prefetch.h"

namespace monolith_tf {

struct Row {
  // In a free row: the next free handle.
  int64_t id;
  // The stripe's cut at the last change; kFreeRow marks a free row.
  uint32_t cut;
  // Event time of the last update, seconds since the epoch.
  uint32_t last_update;

  float* values() { return reinterpret_cast<float*>(this + 1); }
  const float* values() const {
    return reinterpret_cast<const float*>(this + 1);
  }
  bool is_free() const;
};
static_assert(sizeof(Row) == 16, "documented in table.h");

inline constexpr uint32_t kFreeRow = 0xFFFFFFFF;
inline constexpr uint32_t kNoHandle = 0xFFFFFFFF;

inline bool Row::is_free() const { return cut == kFreeRow; }

class RowArena {
 public:
  static constexpr int64_t kMaxSegmentBytes = 128 * 1024;

  // Rows of `row_width` floats from `pool`, which lives as long.
  RowArena(int64_t row_width, MemoryPool* pool);

  RowArena(RowArena&&) = default;
  RowArena& operator=(RowArena&&) = default;

  // A row with undefined contents, or kNoHandle when memory ends.
  uint32_t Allocate();
  void Free(uint32_t handle);

  // `handle` < end().
  Row* At(uint32_t handle) const {
    // With `place` from 2^first_bits_ on, segments begin at powers of two
    // until they are as long as they get.
    const uint64_t place = uint64_t{handle} + (uint64_t{1} << first_bits_);
    uint64_t segment = place >> max_bits_;
    uint64_t index;
    if (segment == 0) {
      const int bits = 63 - __builtin_clzll(place);
      segment = bits - first_bits_;
      index = place - (uint64_t{1} << bits);
    } else {
      segment += max_bits_ - first_bits_ - 1;
      index = place & ((uint64_t{1} << max_bits_) - 1);
    }
    return reinterpret_cast<Row*>(segments_[segment] + index * stride_);
  }

  // Starts to bring the first `bytes` of a row into the cache.
  void Prefetch(uint32_t handle, size_t bytes) const {
    const auto begin = reinterpret_cast<uintptr_t>(At(handle));
    for (uintptr_t line = begin & ~uintptr_t{63}; line < begin + bytes;
         line += 64) {
      PrefetchLine(reinterpret_cast<const void*>(line));
    }
  }

  // Every handle given so far is below.
  uint32_t end() const { return end_; }
  int64_t stride() const { return stride_; }
  int64_t memory_bytes() const;

 private:
  // The index holds handles in 32 bits, and the last one means none.
  static constexpr uint32_t kMaxRows = 0xFFFFFF00;

  int64_t stride_;
  // Rows of the first segment and of the long ones, as powers of two.
  int first_bits_;
  int max_bits_;
  MemoryPool* pool_;
  uint32_t end_ = 0;
  uint32_t capacity_ = 0;
  uint32_t first_free_ = kNoHandle;
  std::vector<char*> segments_;
  std::vector<std::shared_ptr<const MemoryBlock>> owners_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_ARENA_H_
