// crc32c.h
//
// CRC-32C (Castagnoli; RFC 3720, appendix B.4), as every file of this project
// holds it: the plain value, without a mask.

#ifndef MONOLITH_TF_OPS_CC_STORAGE_CRC32C_H_
#define MONOLITH_TF_OPS_CC_STORAGE_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace monolith_tf {

// Returns the checksum of the bytes that gave `crc`, followed by `data` [size].
// The checksum of no bytes is 0.
uint32_t ExtendCrc32c(uint32_t crc, const void* data, size_t size);

inline uint32_t Crc32c(const void* data, size_t size) {
  return ExtendCrc32c(0, data, size);
}

// The same without instructions for it, for tests.
uint32_t ExtendCrc32cPortable(uint32_t crc, const void* data, size_t size);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_STORAGE_CRC32C_H_
