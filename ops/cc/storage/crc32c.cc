#include "ops/cc/storage/crc32c.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace monolith_tf {
namespace {

// The polynomial, bit-reversed.
constexpr uint32_t kPolynomial = 0x82F63B78;
constexpr int kSlices = 8;

using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

// tables[k][b]: the checksum of byte b and k bytes of zeros after it.
constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    tables[0][byte] = crc;
  }
  for (int k = 1; k < kSlices; ++k) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t shorter = tables[k - 1][byte];
      tables[k][byte] = (shorter >> 8) ^ tables[0][shorter & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint64_t LoadWord(const unsigned char* from) {
  uint64_t word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t ExtendSse42(uint32_t crc,
                                                       const void* data,
                                                       size_t size) {
  const auto* next = static_cast<const unsigned char*>(data);
  uint64_t state = ~crc;
  for (; size >= 8; size -= 8, next += 8) {
    state = _mm_crc32_u64(state, LoadWord(next));
  }
  for (; size > 0; --size, ++next) {
    state = _mm_crc32_u8(static_cast<uint32_t>(state), *next);
  }
  return ~static_cast<uint32_t>(state);
}
#endif

}  // namespace

uint32_t ExtendCrc32cPortable(uint32_t crc, const void* data, size_t size) {
  const auto* next = static_cast<const unsigned char*>(data);
  uint32_t state = ~crc;
  for (; size >= kSlices; size -= kSlices, next += kSlices) {
    const uint64_t word = LoadWord(next) ^ state;
    state = 0;
    for (int k = 0; k < kSlices; ++k) {
      state ^= kTables[kSlices - 1 - k][(word >> (8 * k)) & 0xFF];
    }
  }
  for (; size > 0; --size, ++next) {
    state = (state >> 8) ^ kTables[0][(state ^ *next) & 0xFF];
  }
  return ~state;
}

uint32_t ExtendCrc32c(uint32_t crc, const void* data, size_t size) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return ExtendSse42(crc, data, size);
#endif
  return ExtendCrc32cPortable(crc, data, size);
}

}  // namespace monolith_tf
