#include "ops/cc/table/row_arena.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "ops/cc/memory/memory_pool.h"

namespace monolith_tf {
namespace {

// Records of a first slab, as a power of two.
constexpr int kFirstBits = 4;
constexpr int64_t kLine = 64;

int64_t RoundUp(int64_t bytes, int64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

int64_t StrideOf(size_t record_bytes) {
  const auto bytes = static_cast<int64_t>(record_bytes);
  const int64_t lines = RoundUp(bytes, kLine);
  if ((lines - bytes) * 8 <= bytes) return lines;
  const int64_t packed = RoundUp(bytes, 8);
  if (packed > kLine) return packed;
  int64_t fitting = packed;
  while (kLine % fitting != 0) fitting += 8;
  return (fitting - packed) * 3 <= fitting ? fitting : packed;
}

}  // namespace

RowArena::RowArena(size_t record_bytes, MemoryPool* pool,
                   int64_t max_slab_bytes)
    : stride_(StrideOf(record_bytes)),
      record_bytes_(record_bytes),
      max_bits_(0),
      pool_(pool) {
  while ((stride_ << (max_bits_ + 1)) <= max_slab_bytes) ++max_bits_;
  first_bits_ = std::min(max_bits_, kFirstBits);
}

uint32_t RowArena::AllocateSlowly() {
  if (size_ < end_) {
    const uint32_t handle = FindFree();
    used_[handle >> 6] |= uint64_t{1} << (handle & 63);
    ++size_;
    return handle;
  }
  if (!AddSlab()) return kNoHandle;
  return Allocate();
}

bool RowArena::AddSlab() {
  const size_t number = slabs_.size();
  const uint32_t capacity = BeginOf(number + 1);
  if (capacity == capacity_) return false;
  const int bits = std::min(max_bits_, first_bits_ + static_cast<int>(number));
  MemoryPool::Slab slab = pool_->Allocate(static_cast<size_t>(stride_) << bits);
  if (slab.empty()) return false;
  slabs_.push_back(slab.data());
  owners_.push_back(std::move(slab));
  capacity_ = capacity;
  used_.resize((capacity_ + 63) / 64);
  open_.resize((used_.size() + 63) / 64);
  return true;
}

uint32_t RowArena::BeginOf(size_t slab) const {
  const auto number = static_cast<int64_t>(slab);
  const int64_t num_short = std::min<int64_t>(number, max_bits_ - first_bits_);
  const int64_t begin = (((int64_t{1} << num_short) - 1) << first_bits_) +
                        ((number - num_short) << max_bits_);
  return static_cast<uint32_t>(std::min<int64_t>(begin, kMaxRecords));
}

int64_t RowArena::BytesFor(int64_t num_records) const {
  const int num_short = max_bits_ - first_bits_;
  const int64_t in_short = ((int64_t{1} << num_short) - 1) << first_bits_;
  if (num_records > in_short) {
    return (in_short +
            RoundUp(num_records - in_short, int64_t{1} << max_bits_)) *
           stride_;
  }
  size_t slab = 0;
  while (BeginOf(slab) < num_records) ++slab;
  return BeginOf(slab) * stride_;
}

uint32_t RowArena::FindFree() {
  for (;;) {
    while (open_[first_open_] == 0) ++first_open_;
    uint64_t& open = open_[first_open_];
    const uint32_t word = first_open_ * 64 + __builtin_ctzll(open);
    const uint64_t free = ~used_[word];
    if (free != 0) {
      const uint32_t handle = word * 64 + __builtin_ctzll(free);
      if (handle < end_) return handle;
    }
    open &= open - 1;
  }
}

uint32_t RowArena::NextUsed(uint32_t handle) const {
  if (handle >= end_) return end_;
  uint32_t word = handle >> 6;
  uint64_t used = used_[word] >> (handle & 63) << (handle & 63);
  while (used == 0) {
    if (++word * 64 >= end_) return end_;
    used = used_[word];
  }
  return word * 64 + __builtin_ctzll(used);
}

int RowArena::LowerEnd(int max_words) {
  int looks = 0;
  while (end_ > size_ && looks < max_words) {
    const uint32_t word = (end_ - 1) >> 6;
    if (used_[word] != 0) {
      end_ = word * 64 + 64 - __builtin_clzll(used_[word]);
      break;
    }
    end_ = word * 64;
    ++looks;
  }
  return looks;
}

void RowArena::ReleaseSlabs() {
  // None is kept: an arena that was made dense has room below end() again by
  // the time that it has slack.
  while (!slabs_.empty() && BeginOf(slabs_.size() - 1) >= end_) {
    slabs_.pop_back();
    owners_.pop_back();
    capacity_ = BeginOf(slabs_.size());
  }
  if (size_ == 0) {
    *this = RowArena(record_bytes_, pool_, max_slab_bytes());
  } else if (used_.capacity() > 64 + capacity_ / 16) {
    used_.resize((capacity_ + 63) / 64);
    used_.shrink_to_fit();
    open_.resize((used_.size() + 63) / 64);
    open_.shrink_to_fit();
  }
}

bool RowArena::MoveSlab() {
  if (owners_.empty()) return false;
  const size_t slab = hand_ < owners_.size() ? hand_ : 0;
  hand_ = slab + 1;
  MemoryPool::Slab place = pool_->AllocateBefore(owners_[slab]);
  if (place.empty()) return false;
  const int64_t num_records =
      std::min<int64_t>(end_, BeginOf(slab + 1)) - BeginOf(slab);
  if (num_records > 0) {
    std::memcpy(place.data(), slabs_[slab], num_records * stride_);
  }
  slabs_[slab] = place.data();
  owners_[slab] = std::move(place);
  return true;
}

int64_t RowArena::memory_bytes() const {
  size_t bytes = used_.capacity() * sizeof(used_[0]) +
                 open_.capacity() * sizeof(open_[0]) +
                 slabs_.capacity() * sizeof(slabs_[0]) +
                 owners_.capacity() * sizeof(owners_[0]);
  for (size_t i = 0; i < owners_.size(); ++i) {
    const int64_t records = int64_t{end_} - BeginOf(i);
    bytes += owners_[i].ResidentBytes(std::max<int64_t>(records, 0) * stride_);
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace monolith_tf
