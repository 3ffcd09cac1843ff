#include "ops/cc/admission/packed_count.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace monolith_tf {
namespace {

TEST(PackedCountTest, OverridesMergeAndOccurrencesSaturate) {
  const int64_t one = PackOwnTerms(3, 0);
  const int64_t other = PackOwnTerms(5, 60);
  EXPECT_EQ(MergedOwnTerms(one, other), PackOwnTerms(3, 60));
  EXPECT_EQ(MergedOwnTerms(other, one), PackOwnTerms(3, 60));
  EXPECT_EQ(MergedOwnTerms(0, other), other);
  EXPECT_EQ(MergedOwnTerms(PackOwnTerms(0, 90), other), PackOwnTerms(5, 90));
  const int64_t largest = PackOwnTerms(kMaxOwnMinCount, kMaxOwnTtl);
  const int64_t packed = PackCount(int64_t{1} << 40, largest);
  EXPECT_FALSE(IsByLot(packed));
  EXPECT_EQ(OccurrencesOf(packed), kMaxOccurrences);
  EXPECT_EQ(OwnMinCountOf(packed), kMaxOwnMinCount);
  EXPECT_EQ(OwnTtlOf(packed), kMaxOwnTtl);
  EXPECT_EQ(OwnTermsOf(packed), largest);
}

TEST(PackedCountTest, AProbabilityHasItsTtl) {
  const int64_t packed = PackCount(1, kMaxOwnTerms);
  EXPECT_TRUE(IsByLot(packed));
  EXPECT_EQ(OccurrencesOf(packed), 1);
  EXPECT_EQ(OwnProbabilityOf(packed), 1.0);
  EXPECT_EQ(OwnTtlOf(packed), kMaxOwnTtl);
  EXPECT_EQ(OwnTermsOf(packed), kMaxOwnTerms);
  const auto probability = [](int64_t threshold) {
    return OwnProbabilityOf(PackCount(1, PackOwnTerms(threshold, 0, true)));
  };
  EXPECT_EQ(probability(0), 0x1p-31);
  EXPECT_EQ(probability(30 << 11), 0.5);
  EXPECT_EQ(probability(30 << 11 | 1024), 0.75);
  EXPECT_TRUE(AreOwnTerms(PackOwnTerms(kCertainThreshold, 7, true)));
  EXPECT_FALSE(AreOwnTerms(PackOwnTerms(kCertainThreshold + 1, 7, true)));
  EXPECT_TRUE(AreOwnTerms(PackOwnTerms(kCertainThreshold + 1, 7)));
  EXPECT_FALSE(AreOwnTerms(-1));
  EXPECT_FALSE(AreOwnTerms(kMaxOwnTerms + 1));
}

TEST(PackedCountTest, TheLargestProbabilityAppliesAndAMinCountGoesFirst) {
  const int64_t rare = PackOwnTerms(100, 60, true);
  const int64_t often = PackOwnTerms(kCertainThreshold, 7, true);
  const int64_t counted = PackOwnTerms(kMaxOwnMinCount, 9);
  const auto check = [](int64_t one, int64_t other, int64_t expected) {
    EXPECT_EQ(MergedOwnTerms(one, other), expected);
    EXPECT_EQ(MergedOwnTerms(other, one), expected);
  };
  check(rare, often, PackOwnTerms(kCertainThreshold, 60, true));
  check(rare, counted, PackOwnTerms(kMaxOwnMinCount, 60));
  check(often, counted, PackOwnTerms(kMaxOwnMinCount, 9));
  check(often, 0, often);
  check(PackOwnTerms(0, 0, true), PackOwnTerms(0, 90),
        PackOwnTerms(0, 90, true));
}

}  // namespace
}  // namespace monolith_tf
