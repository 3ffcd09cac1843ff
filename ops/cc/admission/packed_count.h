// packed_count.h: what an update says of an id beside its gradient, in one
// number.
//
//    63  62            32  31          16  15             0
//   +---+----------------+---------------+----------------+
//   | L | ttl, seconds   | bar           | occurrences    |
//   +---+----------------+---------------+----------------+
//
// Bar and ttl are those of the features that the id occurs through, its own
// terms, 0 where they say nothing and the table's hold. Own terms alone are the
// same without the occurrences, 16 bits lower.
//
// What the bar is depends on L. Clear: a min_count, 0 for none. Set: the id is
// admitted by lot, and the bar is the probability that each occurrence admits
// it with, as a float of 5 and 11 bits, e << 11 | m: (1 + m / 2048) * 2^(e -
// 31), so from 2^-31 to 1, to within 1 / 4096 of itself.
//
// Of several features the smallest min_count, the largest probability and the
// longest ttl hold; where some count and some draw lots, those that count. A
// feature without a term brings that of the table where others bring theirs.

#ifndef MONOLITH_TF_OPS_CC_ADMISSION_PACKED_COUNT_H_
#define MONOLITH_TF_OPS_CC_ADMISSION_PACKED_COUNT_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace monolith_tf {

// More occurrences in one batch are not told apart.
inline constexpr int64_t kMaxOccurrences = 65535;
inline constexpr int64_t kMaxOwnMinCount = 65535;
// 68 years.
inline constexpr int64_t kMaxOwnTtl = (int64_t{1} << 31) - 1;
// Of the bars that are probabilities the one that is 1.
inline constexpr int64_t kCertainBar = 31 << 11;
// The bit L of own terms alone.
inline constexpr int64_t kByLot = int64_t{1} << 47;

inline constexpr int64_t kMaxOwnTerms = kByLot | kMaxOwnTtl << 16 | kCertainBar;

inline int64_t PackOwnTerms(int64_t bar, int64_t ttl, bool by_lot = false) {
  return (by_lot ? kByLot : 0) | ttl << 16 | bar;
}
inline int64_t PackCount(int64_t occurrences, int64_t own_terms) {
  return static_cast<int64_t>(static_cast<uint64_t>(own_terms) << 16) |
         std::min(occurrences, kMaxOccurrences);
}
inline int64_t OccurrencesOf(int64_t packed) { return packed & 0xFFFF; }
inline int64_t OwnTermsOf(int64_t packed) {
  return static_cast<int64_t>(static_cast<uint64_t>(packed) >> 16);
}
inline int64_t OwnTtlOf(int64_t packed) { return packed >> 32 & kMaxOwnTtl; }
inline bool IsByLot(int64_t packed) { return packed < 0; }
// 0 for none; only where the id is not admitted by lot.
inline int64_t OwnMinCountOf(int64_t packed) { return packed >> 16 & 0xFFFF; }
// Only where the id is admitted by lot.
inline double OwnProbabilityOf(int64_t packed) {
  const int64_t bar = packed >> 16 & 0xFFFF;
  return std::ldexp(static_cast<double>(2048 + (bar & 2047)),
                    static_cast<int>(bar >> 11) - 42);
}

// Whether own terms are any that there are.
inline bool AreOwnTerms(int64_t own_terms) {
  if (own_terms < 0 || own_terms > kMaxOwnTerms) return false;
  return own_terms < kByLot || (own_terms & 0xFFFF) <= kCertainBar;
}

// The own terms of an id of which `one` and `other` are known.
inline int64_t MergedOwnTerms(int64_t one, int64_t other) {
  const int64_t ttl = std::max((one & ~kByLot) >> 16, (other & ~kByLot) >> 16);
  // By ease: none, then lots of rising odds, then falling min_counts.
  const auto ease = [](int64_t terms) -> int64_t {
    const int64_t bar = terms & 0xFFFF;
    if (terms >= kByLot) return 1 + bar;
    return bar == 0 ? 0 : 2 * 65536 - bar;
  };
  const int64_t easier = ease(one) >= ease(other) ? one : other;
  return ttl << 16 | (easier & (kByLot | 0xFFFF));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_ADMISSION_PACKED_COUNT_H_
