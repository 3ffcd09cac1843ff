#include "ops/cc/table/memory_pool.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "ops/cc/table/memory_block.h"
#include "ops/cc/table/spin_lock.h"

namespace monolith_tf {
namespace {

std::shared_ptr<const MemoryBlock> MakeBlock(size_t bytes) {
  MemoryBlock block = MemoryBlock::Allocate(bytes);
  if (block.empty()) return nullptr;
  return std::make_shared<const MemoryBlock>(std::move(block));
}

}  // namespace

MemoryPool::Segment MemoryPool::Allocate(size_t bytes) {
  Segment segment;
  if (bytes < kMinSharedBytes) {
    segment.owner = MakeBlock(bytes);
    if (segment.owner != nullptr) segment.data = segment.owner->data();
    return segment;
  }
  bytes = (bytes + MemoryBlock::kAlignment - 1) / MemoryBlock::kAlignment *
          MemoryBlock::kAlignment;
  SpinLockHolder holder(&lock_);
  if (extent_ == nullptr || extent_->bytes() - used_ < bytes) {
    std::shared_ptr<const MemoryBlock> extent =
        MakeBlock(std::max(bytes, kExtentBytes));
    if (extent == nullptr) return segment;
    extent_ = std::move(extent);
    used_ = 0;
  }
  segment.data = extent_->data() + used_;
  segment.owner = extent_;
  used_ += bytes;
  return segment;
}

}  // namespace monolith_tf
