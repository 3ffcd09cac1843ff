// count_word.h: what an update says of an id beside its gradient, in one word.
//
//   63  62            32  31          16  15             0
//   +--+----------------+---------------+----------------+
//   |0 | ttl, seconds   | min_count     | occurrences    |
//   +--+----------------+---------------+----------------+
//
// min_count and ttl are those of the features that the id occurs through, its
// own terms, 0 where they say nothing and the table's hold. Of several features
// the smallest min_count and the longest ttl hold: a feature without one brings
// that of the table where others bring theirs. Own terms alone are the same
// without the occurrences, 16 bits lower.

#ifndef MONOLITH_TF_OPS_CC_TABLE_COUNT_WORD_H_
#define MONOLITH_TF_OPS_CC_TABLE_COUNT_WORD_H_

#include <algorithm>
#include <cstdint>

namespace monolith_tf {

// More occurrences in one batch are not told apart.
inline constexpr int64_t kMaxOccurrences = 65535;
inline constexpr int64_t kMaxOwnMinCount = 65535;
// 68 years.
inline constexpr int64_t kMaxOwnTtl = (int64_t{1} << 31) - 1;
inline constexpr int64_t kMaxOwnTerms = kMaxOwnTtl << 16 | kMaxOwnMinCount;

inline int64_t PackOwnTerms(int64_t min_count, int64_t ttl) {
  return ttl << 16 | min_count;
}
inline int64_t PackCount(int64_t occurrences, int64_t own_terms) {
  return own_terms << 16 | std::min(occurrences, kMaxOccurrences);
}
inline int64_t OccurrencesOf(int64_t word) { return word & 0xFFFF; }
inline int64_t OwnTermsOf(int64_t word) { return word >> 16; }
inline int64_t OwnMinCountOf(int64_t word) { return word >> 16 & 0xFFFF; }
inline int64_t OwnTtlOf(int64_t word) { return word >> 32; }

// The own terms of an id of which `one` and `other` are known.
inline int64_t MergedOwnTerms(int64_t one, int64_t other) {
  const int64_t low = std::min(one & 0xFFFF, other & 0xFFFF);
  const int64_t high = std::max(one & 0xFFFF, other & 0xFFFF);
  return std::max(one >> 16, other >> 16) << 16 | (low == 0 ? high : low);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_COUNT_WORD_H_
