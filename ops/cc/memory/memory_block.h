// memory_block.h
//
// An owned block of memory. Large blocks come directly from the system: a page
// is resident after its first touch, and blocks of kHugePageBytes and more
// request huge pages, which make random access 2 to 4 times faster. Reports
// exhausted memory, never throws.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_MEMORY_BLOCK_H_
#define MONOLITH_TF_OPS_CC_MEMORY_MEMORY_BLOCK_H_

#include <cstddef>

namespace monolith_tf {

class MemoryBlock {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kHugePageBytes = size_t{2} << 20;

  MemoryBlock() = default;
  // `bytes` with undefined contents, or an empty block if there is no memory.
  static MemoryBlock Allocate(size_t bytes);

  ~MemoryBlock() { Release(); }
  MemoryBlock(MemoryBlock&& other) noexcept;
  MemoryBlock& operator=(MemoryBlock&& other) noexcept;

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool empty() const { return data_ == nullptr; }
  // Resident bytes when the first `used` bytes were touched.
  size_t ResidentBytes(size_t used) const;
  // Returns the pages behind the first `used` bytes to the system. The caller
  // must write them before it reads them again.
  void Forget(size_t used);

  // Returns whole pages of a block to the system; their contents are lost.
  static void ReturnPages(char* begin, size_t bytes);

 private:
  void Release();

  char* data_ = nullptr;
  size_t bytes_ = 0;
  bool is_mapped_ = false;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_MEMORY_BLOCK_H_
