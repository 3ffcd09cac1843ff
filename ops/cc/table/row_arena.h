// row_arena.h
//
// The rows of one stripe, in chunks of 16, 32, 64 ... rows. A row is named by
// a 32-bit handle and never moves, so a pointer to it stays good until it is
// freed; handles 0, 1, 2 ... are given in order, and freed ones again first.
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
// Memory: chunks are resident from their first touch on; a freed row keeps
// its memory for the next. Not thread-safe.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_ARENA_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_ARENA_H_

#include <cstddef>
#include <cstdint>

#include "ops/cc/table/memory_block.h"

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
  // Rows of `row_width` floats.
  explicit RowArena(int64_t row_width);

  RowArena(RowArena&&) = default;
  RowArena& operator=(RowArena&&) = default;

  // A row with undefined contents, or kNoHandle when memory ends.
  uint32_t Allocate();
  void Free(uint32_t handle);

  // `handle` < end().
  Row* At(uint32_t handle) const {
    // Chunk c starts at handle kFirstChunkRows * (2^c - 1).
    const uint64_t place = uint64_t{handle} + kFirstChunkRows;
    const int chunk = 63 - __builtin_clzll(place) - kFirstChunkBits;
    const uint64_t index = place - (uint64_t{kFirstChunkRows} << chunk);
    return reinterpret_cast<Row*>(chunks_[chunk].data() + index * stride_);
  }

  // Starts to bring the first `bytes` of a row into the cache.
  void Prefetch(uint32_t handle, size_t bytes) const {
    const char* row = reinterpret_cast<const char*>(At(handle));
    for (size_t offset = 0; offset < bytes; offset += 64) {
      __builtin_prefetch(row + offset);
    }
    // The row may end in one line more than its length tells.
    __builtin_prefetch(row + bytes - 1);
  }

  // Every handle given so far is below.
  uint32_t end() const { return end_; }
  int64_t stride() const { return stride_; }
  int64_t memory_bytes() const;

 private:
  static constexpr int kFirstChunkBits = 4;
  static constexpr int kFirstChunkRows = 1 << kFirstChunkBits;
  static constexpr int kMaxChunks = 28;
  static constexpr uint32_t kMaxRows =
      kFirstChunkRows * ((uint32_t{1} << kMaxChunks) - 1);

  int64_t stride_;
  uint32_t end_ = 0;
  uint32_t first_free_ = kNoHandle;
  int num_chunks_ = 0;
  MemoryBlock chunks_[kMaxChunks];
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_ARENA_H_
