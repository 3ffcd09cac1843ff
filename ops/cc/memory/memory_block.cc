#include "ops/cc/memory/memory_block.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>

namespace monolith_tf {
namespace {

// Longer blocks go back to the system at once when they are released.
constexpr size_t kMinMappedBytes = size_t{256} << 10;
constexpr size_t kPageBytes = 4096;

size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// Fresh pages, or null. Starts on a multiple of `alignment`.
char* MapPages(size_t bytes, size_t alignment) {
  const size_t reserved = bytes + alignment;
  void* mapped = mmap(nullptr, reserved, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(mapped);
  const uintptr_t address = reinterpret_cast<uintptr_t>(begin);
  const size_t head = RoundUp(address, alignment) - address;
  if (head > 0) munmap(begin, head);
  if (head < alignment) munmap(begin + head + bytes, alignment - head);
  return begin + head;
}

}  // namespace

MemoryBlock MemoryBlock::Allocate(size_t bytes) {
  MemoryBlock block;
  if (bytes >= kMinMappedBytes) {
    const bool is_huge = bytes >= kHugePageBytes;
    const size_t unit = is_huge ? kHugePageBytes : kPageBytes;
    block.bytes_ = RoundUp(bytes, kPageBytes);
    block.data_ = MapPages(block.bytes_, unit);
    block.is_mapped_ = true;
    if (block.data_ != nullptr && is_huge) {
      // Advice only: a kernel without huge pages works as well, slower.
      (void)madvise(block.data_, block.bytes_, MADV_HUGEPAGE);
    }
  } else {
    block.bytes_ = RoundUp(bytes, kAlignment);
    block.data_ =
        static_cast<char*>(std::aligned_alloc(kAlignment, block.bytes_));
  }
  if (block.data_ == nullptr) block.bytes_ = 0;
  return block;
}

MemoryBlock::MemoryBlock(MemoryBlock&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      is_mapped_(other.is_mapped_) {}

MemoryBlock& MemoryBlock::operator=(MemoryBlock&& other) noexcept {
  if (this != &other) {
    Release();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    is_mapped_ = other.is_mapped_;
  }
  return *this;
}

size_t MemoryBlock::ResidentBytes(size_t used) const {
  if (!is_mapped_) return bytes_;
  const size_t unit = bytes_ >= kHugePageBytes ? kHugePageBytes : kPageBytes;
  return std::min(bytes_, RoundUp(used, unit));
}

void MemoryBlock::Forget(size_t used) {
  if (!is_mapped_) return;
  const size_t resident = ResidentBytes(used);
  if (resident < bytes_) ReturnPages(data_ + resident, bytes_ - resident);
}

void MemoryBlock::ReturnPages(char* begin, size_t bytes) {
  (void)madvise(begin, bytes, MADV_DONTNEED);
}

void MemoryBlock::Release() {
  if (data_ == nullptr) return;
  if (is_mapped_) {
    munmap(data_, bytes_);
  } else {
    std::free(data_);
  }
  data_ = nullptr;
}

}  // namespace monolith_tf
