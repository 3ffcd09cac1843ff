// memory_block.h
//
// Zeroed memory for buckets and rows, owned. Large blocks come straight from
// the system: pages are resident from their first touch on, and blocks of
// kHugePageBytes and more ask for huge pages, which random access needs (2x
// to 4x). Memory that ends is reported, never thrown.

#ifndef MONOLITH_TF_OPS_CC_TABLE_MEMORY_BLOCK_H_
#define MONOLITH_TF_OPS_CC_TABLE_MEMORY_BLOCK_H_

#include <cstddef>

namespace monolith_tf {

class MemoryBlock {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kHugePageBytes = size_t{2} << 20;

  MemoryBlock() = default;
  // `bytes` of zeros, or an empty block when memory ends.
  static MemoryBlock Allocate(size_t bytes);

  ~MemoryBlock() { Release(); }
  MemoryBlock(MemoryBlock&& other) noexcept;
  MemoryBlock& operator=(MemoryBlock&& other) noexcept;

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool empty() const { return data_ == nullptr; }
  // Resident bytes when the first `used` bytes were touched.
  size_t ResidentBytes(size_t used) const;

 private:
  void Release();

  char* data_ = nullptr;
  size_t bytes_ = 0;
  bool is_mapped_ = false;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_MEMORY_BLOCK_H_
