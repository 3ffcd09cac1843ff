#include "ops/cc/memory/memory_pool.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "ops/cc/memory/free_ranges.h"
#include "ops/cc/memory/memory_block.h"
#include "ops/cc/memory/spin_lock.h"

namespace monolith_tf {
namespace {

// Makes a free page resident. Without huge pages it is 512 small ones.
void Touch(char* page) {
  for (size_t i = 0; i < MemoryPool::kPageBytes; i += 4096) {
    *const_cast<volatile char*>(page + i) = 0;
  }
}

}  // namespace

MemoryPool::Slab::Slab(Slab&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(other.bytes_),
      position_(other.position_),
      pool_(std::exchange(other.pool_, nullptr)),
      memory_(std::move(other.memory_)) {}

MemoryPool::Slab& MemoryPool::Slab::operator=(Slab&& other) noexcept {
  if (this != &other) {
    Release();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = other.bytes_;
    position_ = other.position_;
    pool_ = std::exchange(other.pool_, nullptr);
    memory_ = std::move(other.memory_);
  }
  return *this;
}

size_t MemoryPool::Slab::ResidentBytes(size_t used) const {
  return pool_ != nullptr ? bytes_ : memory_.ResidentBytes(used);
}

void MemoryPool::Slab::Release() {
  if (pool_ != nullptr) pool_->Deallocate(position_, bytes_);
  pool_ = nullptr;
  data_ = nullptr;
}

MemoryPool::Slab MemoryPool::Allocate(size_t bytes) {
  Slab slab;
  if (bytes < kMinSharedBytes || bytes >= kPageBytes) {
    if (bytes >= kPageBytes && !budget_->Allows(static_cast<int64_t>(bytes))) {
      return slab;
    }
    slab.memory_ = MemoryBlock::Allocate(bytes);
    slab.data_ = slab.memory_.data();
    return slab;
  }
  bytes = (bytes + MemoryBlock::kAlignment - 1) / MemoryBlock::kAlignment *
          MemoryBlock::kAlignment;
  SpinLockHolder holder(&lock_);
  const uint64_t position = FindFree(bytes);
  if (position == kNoPosition) return slab;
  return MakeSlab(position, bytes);
}

MemoryPool::Slab MemoryPool::MakeSlab(uint64_t position, size_t bytes) {
  Take(position, bytes);
  SetHasWork();
  Slab slab;
  slab.data_ = At(position);
  slab.bytes_ = bytes;
  slab.position_ = position;
  slab.pool_ = this;
  return slab;
}

bool MemoryPool::IsResident(uint64_t position, size_t bytes) const {
  const Extent& extent = *extents_[position / kExtentBytes];
  const uint64_t offset = position % kExtentBytes;
  for (uint64_t page = offset / kPageBytes;
       page <= (offset + bytes - 1) / kPageBytes; ++page) {
    if (!extent.is_resident[page]) return false;
  }
  return true;
}

MemoryPool::Slab MemoryPool::AllocateBefore(const Slab& slab) {
  if (slab.pool_ == nullptr) return Slab();
  SpinLockHolder holder(&lock_);
  uint64_t from = 0;
  for (int look = 0; look < kMaxLooks; ++look) {
    const FreeRanges::Range range = free_.Find(slab.bytes_, from);
    if (range.empty() || range.begin >= slab.position_) break;
    if (IsResident(range.begin, slab.bytes_)) {
      return MakeSlab(range.begin, slab.bytes_);
    }
    from = range.begin + 1;
  }
  return Slab();
}

void MemoryPool::Deallocate(uint64_t position, size_t bytes) {
  SpinLockHolder holder(&lock_);
  Give(position, bytes);
  SetHasWork();
}

bool MemoryPool::AddExtent() {
  if (!budget_->Allows(kExtentBytes)) return false;
  auto extent = std::make_unique<Extent>();
  extent->memory = MemoryBlock::Allocate(kExtentBytes);
  if (extent->memory.empty()) return false;
  const auto hole = std::find(extents_.begin(), extents_.end(), nullptr);
  const uint64_t number = hole - extents_.begin();
  if (hole == extents_.end()) extents_.emplace_back();
  extents_[number] = std::move(extent);
  free_.Insert(number * kExtentBytes, kExtentBytes);
  ++num_empty_extents_;
  return true;
}

uint64_t MemoryPool::FindFree(size_t bytes) {
  const FreeRanges::Range range = free_.Find(bytes);
  if (!range.empty()) return range.begin;
  return AddExtent() ? FindFree(bytes) : kNoPosition;
}

void MemoryPool::Take(uint64_t position, size_t bytes) {
  const FreeRanges::Range range = free_.Before(position);
  free_.Erase(range.begin);
  if (range.begin < position) free_.Insert(range.begin, position - range.begin);
  const uint64_t end = position + bytes;
  if (end < range.end()) free_.Insert(end, range.end() - end);
  CountUse(position, bytes, true);
}

void MemoryPool::Give(uint64_t position, size_t bytes) {
  CountUse(position, bytes, false);
  FreeRanges::Range given = {position, bytes};
  const FreeRanges::Range next = free_.Find(1, position);
  if (!next.empty() && next.begin == given.end() &&
      next.begin % kExtentBytes != 0) {
    free_.Erase(next.begin);
    given.length += next.length;
  }
  const FreeRanges::Range previous = free_.Before(position);
  if (!previous.empty() && previous.end() == position &&
      position % kExtentBytes != 0) {
    free_.Erase(previous.begin);
    given = {previous.begin, previous.length + given.length};
  }
  free_.Insert(given.begin, given.length);
}

void MemoryPool::CountUse(uint64_t position, size_t bytes, bool is_use) {
  Extent& extent = *extents_[position / kExtentBytes];
  const auto sign = is_use ? int64_t{1} : int64_t{-1};
  const bool was_empty = extent.used_bytes == 0 && extent.num_resident == 0;
  for (uint64_t at = position, end = position + bytes; at < end;) {
    const int page = static_cast<int>(at % kExtentBytes / kPageBytes);
    const uint64_t next =
        std::min<uint64_t>(end, at / kPageBytes * kPageBytes + kPageBytes);
    const bool was_used = extent.used[page] != 0;
    extent.used[page] += static_cast<uint32_t>(sign * (next - at));
    if (!extent.is_resident[page]) {
      extent.is_resident[page] = true;
      ++extent.num_resident;
      ++num_resident_;
    } else if (was_used != (extent.used[page] != 0)) {
      num_free_ -= sign;
    }
    at = next;
  }
  extent.used_bytes += sign * static_cast<int64_t>(bytes);
  used_bytes_ += sign * static_cast<int64_t>(bytes);
  if (was_empty) --num_empty_extents_;
}

bool MemoryPool::WantsPage() const {
  constexpr auto kHalfPage = static_cast<int64_t>(kPageBytes) / 2;
  if (is_touching_ || num_free_ > 0 || used_bytes_ < kHalfPage) return false;
  // A pool full of holes, of a table that shrank, has room as it is.
  const int64_t idle =
      num_resident_ * static_cast<int64_t>(kPageBytes) - used_bytes_;
  return idle < static_cast<int64_t>(kPageBytes) + used_bytes_ / 8;
}

bool MemoryPool::HasSparePage() const {
  return num_free_ > (used_bytes_ == 0 ? 0 : kMaxFreePages) &&
         num_resident_ - num_returning_ > num_reserved_;
}

void MemoryPool::SetHasWork() {
  has_work_.store(WantsPage() || HasSparePage() || num_empty_extents_ > 0,
                  std::memory_order_relaxed);
  const int64_t holes =
      (num_resident_ - num_free_) * static_cast<int64_t>(kPageBytes) -
      used_bytes_;
  is_scattered_.store(holes > kMaxHolesBytes + used_bytes_ / 8,
                      std::memory_order_relaxed);
}

uint64_t MemoryPool::FirstUntouchedPage() {
  for (;;) {
    for (size_t number = 0; number < extents_.size(); ++number) {
      const Extent* extent = extents_[number].get();
      if (extent == nullptr || extent->num_resident == kPagesPerExtent) {
        continue;
      }
      const bool* resident = extent->is_resident;
      const auto page =
          std::find(resident, resident + kPagesPerExtent, false) - resident;
      return number * kExtentBytes + page * kPageBytes;
    }
    if (!AddExtent()) return kNoPosition;
  }
}

uint64_t MemoryPool::LastFreePage() const {
  for (size_t number = extents_.size(); number-- > 0;) {
    const Extent* extent = extents_[number].get();
    if (extent == nullptr) continue;
    for (int page = kPagesPerExtent; page-- > 0;) {
      if (extent->is_resident[page] && extent->used[page] == 0) {
        return number * kExtentBytes + page * kPageBytes;
      }
    }
  }
  return kNoPosition;
}

std::unique_ptr<MemoryPool::Extent> MemoryPool::TakeEmptyExtent() {
  for (size_t number = 0; number < extents_.size(); ++number) {
    const Extent* extent = extents_[number].get();
    if (extent == nullptr || extent->used_bytes != 0 ||
        extent->num_resident != 0) {
      continue;
    }
    free_.Erase(number * kExtentBytes);
    --num_empty_extents_;
    return std::move(extents_[number]);
  }
  return nullptr;
}

void MemoryPool::MarkReturned(uint64_t page) {
  Extent& extent = *extents_[page / kExtentBytes];
  extent.is_resident[page % kExtentBytes / kPageBytes] = false;
  --num_resident_;
  --num_free_;
  if (--extent.num_resident == 0 && extent.used_bytes == 0) {
    ++num_empty_extents_;
  }
}

bool MemoryPool::Reserve(size_t bytes) {
  {
    constexpr auto kPage = static_cast<int64_t>(kPageBytes);
    SpinLockHolder holder(&lock_);
    const int64_t wanted = used_bytes_ + static_cast<int64_t>(bytes);
    // And the page that is touched ahead of need; none for a small table.
    if (wanted >= kPage) {
      num_reserved_ = std::max(num_reserved_, (wanted + kPage - 1) / kPage + 1);
    }
  }
  for (;;) {
    uint64_t page;
    char* data;
    {
      SpinLockHolder holder(&lock_);
      if (num_resident_ >= num_reserved_) break;
      page = FirstUntouchedPage();
      if (page == kNoPosition) return false;
      // Taken, so that nobody else cuts it meanwhile.
      Take(page, kPageBytes);
      data = At(page);
    }
    Touch(data);
    SpinLockHolder holder(&lock_);
    Give(page, kPageBytes);
  }
  SpinLockHolder holder(&lock_);
  SetHasWork();
  return true;
}

bool MemoryPool::MaintainOnce() {
  // Destroyed after the lock is released.
  std::unique_ptr<Extent> garbage;
  uint64_t page;
  char* data;
  bool is_touch;
  {
    SpinLockHolder holder(&lock_);
    is_touch = WantsPage();
    page = is_touch         ? FirstUntouchedPage()
           : HasSparePage() ? LastFreePage()
                            : kNoPosition;
    if (page == kNoPosition) {
      garbage = TakeEmptyExtent();
      SetHasWork();
      return garbage != nullptr && has_work_.load(std::memory_order_relaxed);
    }
    // Taken, so that nobody else cuts it meanwhile.
    Take(page, kPageBytes);
    is_touching_ = is_touching_ || is_touch;
    num_returning_ += !is_touch;
    SetHasWork();
    data = At(page);
  }
  if (is_touch) {
    Touch(data);
  } else {
    MemoryBlock::ReturnPages(data, kPageBytes);
  }
  SpinLockHolder holder(&lock_);
  Give(page, kPageBytes);
  if (is_touch) {
    is_touching_ = false;
  } else {
    MarkReturned(page);
    --num_returning_;
  }
  SetHasWork();
  return has_work_.load(std::memory_order_relaxed);
}

int64_t MemoryPool::resident_bytes() const {
  SpinLockHolder holder(&lock_);
  return num_resident_ * static_cast<int64_t>(kPageBytes);
}

int64_t MemoryPool::idle_bytes() const {
  SpinLockHolder holder(&lock_);
  return num_resident_ * static_cast<int64_t>(kPageBytes) - used_bytes_;
}

int64_t MemoryPool::surplus_bytes() const {
  SpinLockHolder holder(&lock_);
  const int64_t used_or_reserved =
      std::max(used_bytes_, num_reserved_ * static_cast<int64_t>(kPageBytes));
  return num_resident_ * static_cast<int64_t>(kPageBytes) - used_or_reserved;
}

std::vector<MemoryRange> MemoryPool::ranges() const {
  SpinLockHolder holder(&lock_);
  std::vector<MemoryRange> ranges;
  for (const std::unique_ptr<Extent>& extent : extents_) {
    if (extent == nullptr) continue;
    const auto begin = reinterpret_cast<uintptr_t>(extent->memory.data());
    ranges.push_back({begin, begin + kExtentBytes});
  }
  return ranges;
}

}  // namespace monolith_tf
