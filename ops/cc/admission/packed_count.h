// packed_count.h: the occurrences of an id in an update and its overrides of
// the table's admission and time to live, packed into one int64.
//
//    63  62            32  31          16  15             0
//   +---+----------------+---------------+----------------+
//   | P | ttl, seconds   | threshold     | occurrences    |
//   +---+----------------+---------------+----------------+
//
// Threshold and ttl are the overrides of the features that the id occurs in; 0
// where the table's values apply. The overrides alone are the same without the
// occurrences, shifted right by 16 bits.
//
// The threshold depends on the bit P. Clear: a min_count, 0 for none. Set: the
// probability with which each occurrence admits the id, as a float of 5 and 11
// bits, e << 11 | m: (1 + m / 2048) * 2^(e - 31). It ranges from 2^-31 to 1,
// with a relative error of at most 1 / 4096.
//
// If an id occurs in several features, the smallest min_count, the largest
// probability and the longest ttl apply; a min_count takes precedence over a
// probability. A feature without an override uses the value of the table.

#ifndef MONOLITH_TF_OPS_CC_ADMISSION_PACKED_COUNT_H_
#define MONOLITH_TF_OPS_CC_ADMISSION_PACKED_COUNT_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace monolith_tf {

// Larger numbers of occurrences in one batch count as this many.
inline constexpr int64_t kMaxOccurrences = 65535;
inline constexpr int64_t kMaxOwnMinCount = 65535;
// 68 years.
inline constexpr int64_t kMaxOwnTtl = (int64_t{1} << 31) - 1;
// The threshold that is a probability of 1.
inline constexpr int64_t kCertainThreshold = 31 << 11;
// The bit P of overrides alone.
inline constexpr int64_t kIsProbability = int64_t{1} << 47;

inline constexpr int64_t kMaxOverrides =
    kIsProbability | kMaxOwnTtl << 16 | kCertainThreshold;

// `is_probability`: whether `threshold` is a probability.
inline int64_t PackOverrides(int64_t threshold, int64_t ttl,
                             bool is_probability = false) {
  return (is_probability ? kIsProbability : 0) | ttl << 16 | threshold;
}
inline int64_t PackCount(int64_t occurrences, int64_t overrides) {
  return static_cast<int64_t>(static_cast<uint64_t>(overrides) << 16) |
         std::min(occurrences, kMaxOccurrences);
}
inline int64_t OccurrencesOf(int64_t packed) { return packed & 0xFFFF; }
inline int64_t OverridesOf(int64_t packed) {
  return static_cast<int64_t>(static_cast<uint64_t>(packed) >> 16);
}
inline int64_t OwnTtlOf(int64_t packed) { return packed >> 32 & kMaxOwnTtl; }
// Whether the id has a probability.
inline bool HasProbability(int64_t packed) { return packed < 0; }
// 0 for none. Only if the id has no probability.
inline int64_t OwnMinCountOf(int64_t packed) { return packed >> 16 & 0xFFFF; }
// Only if the id has a probability.
inline double OwnProbabilityOf(int64_t packed) {
  const int64_t threshold = packed >> 16 & 0xFFFF;
  return std::ldexp(static_cast<double>(2048 + (threshold & 2047)),
                    static_cast<int>(threshold >> 11) - 42);
}

// Whether overrides are valid.
inline bool AreOverrides(int64_t overrides) {
  if (overrides < 0 || overrides > kMaxOverrides) return false;
  return overrides < kIsProbability ||
         (overrides & 0xFFFF) <= kCertainThreshold;
}

// Merges the overrides of two features of one id.
inline int64_t MergedOverrides(int64_t one, int64_t other) {
  const int64_t ttl =
      std::max((one & ~kIsProbability) >> 16, (other & ~kIsProbability) >> 16);
  // From hardest to easiest: none, rising probabilities, falling min_counts.
  const auto ease = [](int64_t packed) -> int64_t {
    const int64_t threshold = packed & 0xFFFF;
    if (packed >= kIsProbability) return 1 + threshold;
    return threshold == 0 ? 0 : 2 * 65536 - threshold;
  };
  const int64_t easier = ease(one) >= ease(other) ? one : other;
  return ttl << 16 | (easier & (kIsProbability | 0xFFFF));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_ADMISSION_PACKED_COUNT_H_
