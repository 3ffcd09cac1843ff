// memory_block.h
//
// Memory for buckets and rows, owned. Large blocks come straight from the
// system: pages are resident from their first touch on, and blocks of
// kHugePageBytes and more ask for huge pages, which random access needs (2x
// to 4x). Memory that ends is reported, never thrown.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_MEMORY_BLOCK_H_
#define MONOLITH_TF_OPS_CC_MEMORY_MEMORY_BLOCK_H_

#include <cstddef>

namespace monolith_tf {

class MemoryBlock {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kHugePageBytes = size_t{2} << 20;

  MemoryBlock() = default;
  // `bytes` with undefined contents, or an empty block when memory ends.
  static MemoryBlock Allocate(size_t bytes);

  ~MemoryBlock() { Release(); }
  MemoryBlock(MemoryBlock&& other) noexcept;
  MemoryBlock& operator=(MemoryBlock&& other) noexcept;

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool empty() const { return data_ == nullptr; }
  // Resident bytes when the first `used` bytes were touched.
  size_t ResidentBytes(size_t used) const;
  // Gives the pages behind the first `used` bytes to the system: they are not
  // read again before they are written.
  void Forget(size_t used);

  // Gives whole pages of a block to the system, contents and all.
  static void ReturnPages(char* begin, size_t bytes);

 private:
  void Release();

  char* data_ = nullptr;
  size_t bytes_ = 0;
  bool is_mapped_ = false;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_MEMORY_BLOCK_H_
