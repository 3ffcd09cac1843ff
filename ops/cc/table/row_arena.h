// row_arena.h
//
// The records of one stripe, in slabs of 16, 32, 64 ... records up to about
// kMaxSlabBytes, or a smaller bound, then all of that size. A record
// is named by a 32-bit handle below 2^31. Pointers to it are valid until it is
// freed, or until Compact() or MoveSlab(). Its contents belong to the caller.
//
//   slab 0      +----+----+-- 16 --+----+
//   slab 1      +----+----+----+----+-- 32 --+----+
//   slab 2      +----+----+----+----+----+----+----+-- 64 --+----+
//     ...
//   used        one bit per record: 1101111...
//   open        one bit per 64 bits of `used`: has a free record below end()
//
// A record starts on a 64-byte line when that pads it by at most 12.5 %, else
// on 8 bytes; one of up to 64 bytes does not straddle two lines when that pads
// it by at most a third.
//
// Allocate takes the lowest free record, so records gather in front. Compact
// moves the last ones there as well, and returns slabs without records to the
// pool.
//
// Cost per record, besides its bytes: 1.02 bits, and the unused part of the
// last slab. Not thread-safe.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_ARENA_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_ARENA_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ops/cc/memory/memory_pool.h"

namespace monolith_tf {

inline constexpr uint32_t kNoHandle = 0xFFFFFFFF;

class RowArena {
 public:
  static constexpr int64_t kMaxSlabBytes = 128 * 1024;
  // The bound of handles.
  static constexpr uint32_t kMaxRecords = 0x7FFFFF00;

  // Records of `record_bytes` >= 1 from `pool`, which lives as long, in
  // slabs of up to `max_slab_bytes`, but of at least one record.
  RowArena(size_t record_bytes, MemoryPool* pool,
           int64_t max_slab_bytes = kMaxSlabBytes);

  RowArena(RowArena&&) = default;
  RowArena& operator=(RowArena&&) = default;

  // Returns the lowest free record, with undefined contents, or kNoHandle if
  // there is no memory.
  uint32_t Allocate() {
    if (size_ == end_ && end_ < capacity_) {
      used_[end_ >> 6] |= uint64_t{1} << (end_ & 63);
      ++size_;
      return end_++;
    }
    return AllocateSlowly();
  }
  // Frees a used record.
  void Free(uint32_t handle) {
    used_[handle >> 6] &= ~(uint64_t{1} << (handle & 63));
    open_[handle >> 12] |= uint64_t{1} << (handle >> 6 & 63);
    if (handle >> 12 < first_open_) first_open_ = handle >> 12;
    --size_;
  }

  // `handle` < end().
  bool IsUsed(uint32_t handle) const {
    return (used_[handle >> 6] >> (handle & 63) & 1) != 0;
  }
  // The first used record from `handle` <= end() on, or end().
  uint32_t NextUsed(uint32_t handle) const;

  // `handle` < end().
  char* At(uint32_t handle) const {
    // With `place` from 2^first_bits_ on, slabs begin at powers of two
    // until they are as long as they get.
    const uint64_t place = uint64_t{handle} + (uint64_t{1} << first_bits_);
    uint64_t slab = place >> max_bits_;
    uint64_t index;
    if (slab == 0) {
      const int bits = 63 - __builtin_clzll(place);
      slab = bits - first_bits_;
      index = place - (uint64_t{1} << bits);
    } else {
      slab += max_bits_ - first_bits_ - 1;
      index = place & ((uint64_t{1} << max_bits_) - 1);
    }
    return slabs_[slab] + index * stride_;
  }

  // The most cache lines that the first `bytes` > 0 of a record can lie on.
  int MaxLines(size_t bytes) const {
    constexpr int64_t kLine = 64;
    // Of the stride; slabs begin on a line.
    const int64_t power_of_two = stride_ & -stride_;
    const int64_t worst_begin = kLine - std::min(kLine, power_of_two);
    return static_cast<int>(
        (worst_begin + static_cast<int64_t>(bytes) - 1) / kLine + 1);
  }

  // Whether Compact pays: more than an eighth of the records below end() are
  // free.
  bool has_slack() const {
    return int64_t{end_} - size_ > kMinSlack + end_ / 8;
  }
  // Moves up to `max_moves` of the last records to free places before them, and
  // calls move(from, to) after each copy, when `from` is free. Lowers end() and
  // returns the slabs behind it to the pool. Returns the number of moves and of
  // looks at 64 free records, together <= max_moves + 1; 0: the arena is dense.
  template <typename Move>
  int Compact(int max_moves, const Move& move);

  // Moves the next slab, cyclically, to a lower place in the pool, if there is
  // one. Returns whether it moved. Handles stay valid; pointers do not.
  bool MoveSlab();
  int64_t num_slabs() const { return static_cast<int64_t>(owners_.size()); }

  // Bytes of the slabs of `num_records` <= kMaxRecords.
  int64_t BytesFor(int64_t num_records) const;

  // A bound of all handles in use.
  uint32_t end() const { return end_; }
  int64_t size() const { return size_; }
  int64_t stride() const { return stride_; }
  // The size of all slabs except the first ones.
  int64_t max_slab_bytes() const { return stride_ << max_bits_; }
  int64_t memory_bytes() const;

 private:
  // With fewer free records, no move pays.
  static constexpr int64_t kMinSlack = 64;

  uint32_t AllocateSlowly();
  bool AddSlab();
  // The lowest free record below end_, which there is.
  uint32_t FindFree();
  // Sets end_ behind the last used record, looking at up to `max_words` times
  // 64 records; returns how many it looked at.
  int LowerEnd(int max_words);
  // Returns slabs that lie wholly behind end_.
  void ReleaseSlabs();
  // The first handle of a slab: the inverse of At.
  uint32_t BeginOf(size_t slab) const;

  int64_t stride_;
  size_t record_bytes_;
  // Records of the first slab and of the long ones, as powers of two.
  int first_bits_;
  int max_bits_;
  MemoryPool* pool_;
  uint32_t size_ = 0;
  uint32_t end_ = 0;
  uint32_t capacity_ = 0;
  // Nothing of open_ before it has a bit.
  uint32_t first_open_ = 0;
  std::vector<uint64_t> used_;
  // A bit may be left over where no free record is below end_.
  std::vector<uint64_t> open_;
  std::vector<char*> slabs_;
  std::vector<MemoryPool::Slab> owners_;
  // The next slab of MoveSlab.
  size_t hand_ = 0;
};

template <typename Move>
int RowArena::Compact(int max_moves, const Move& move) {
  int work = 0;
  while (work < max_moves) {
    work += LowerEnd(max_moves - work);
    if (size_ == end_ || work >= max_moves || !IsUsed(end_ - 1)) break;
    const uint32_t from = end_ - 1;
    const uint32_t to = FindFree();
    std::memcpy(At(to), At(from), record_bytes_);
    used_[to >> 6] |= uint64_t{1} << (to & 63);
    ++size_;
    Free(from);
    move(from, to);
    ++work;
  }
  ReleaseSlabs();
  return work;
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_ARENA_H_
