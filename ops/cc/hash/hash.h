// hash.h
//
// The hash functions whose results are part of file formats, which other
// programs must repeat (docs/formats.md, golden vectors in the tests), and the
// keyed hash that never leaves the process.

#ifndef MONOLITH_TF_OPS_CC_HASH_HASH_H_
#define MONOLITH_TF_OPS_CC_HASH_HASH_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "ops/cc/simd/loop_math.h"

namespace monolith_tf {

// The finalizer of splitmix64: a bijection of the 64-bit integers. Never change
// it: partitions, initial rows and checkpoints depend on it.
inline uint64_t Mix64(uint64_t z) { return loop_math::Mix64(z); }

// 64-bit FNV-1a of the bytes of `text`.
inline uint64_t Fnv1a64(absl::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char character : text) {
    hash ^= static_cast<unsigned char>(character);
    hash *= 0x100000001B3ULL;
  }
  return hash;
}

// The key of a table's initial rows.
inline uint64_t TableKey(uint64_t seed, absl::string_view table_name) {
  return Mix64(seed + Fnv1a64(table_name));
}

// The key of one id's initial row.
inline uint64_t IdKey(uint64_t table_key, int64_t id) {
  return Mix64(static_cast<uint64_t>(id) + table_key);
}

// The random bits of element `j` of an initial row.
inline uint64_t ElementBits(uint64_t id_key, uint64_t j) {
  return loop_math::ElementBits(id_key, j);
}

// The key of the rounding of the initial weights of a segment that starts
// `first_element` weights into the row (precision.h). Independent of the bits
// that the weights were drawn from.
inline uint64_t InitialRoundingKey(uint64_t id_key, uint64_t first_element) {
  return Mix64(id_key) + first_element * 0x9E3779B97F4A7C15ULL;
}

// Where a table puts an id inside this process. Two keyed rounds of a
// bijection: different ids have different hashes, and without the key,
// nobody can choose ids that share a bucket. The result must not be stored or
// sent, because the key differs per process.
class KeyedHash {
 public:
  // A fixed key, for tests.
  constexpr KeyedHash(uint64_t first, uint64_t second)
      : first_(first), second_(second) {}

  // The key of this process, drawn once from the system's random source.
  static KeyedHash OfProcess();

  uint64_t operator()(int64_t id) const {
    return Mix64(Mix64(static_cast<uint64_t>(id) ^ first_) + second_);
  }

 private:
  uint64_t first_;
  uint64_t second_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_HASH_HASH_H_
