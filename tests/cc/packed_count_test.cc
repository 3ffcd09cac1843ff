#include "ops/cc/admission/packed_count.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace monolith_tf {
namespace {

TEST(PackedCountTest, OverridesMergeAndOccurrencesSaturate) {
  const int64_t one = PackOverrides(3, 0);
  const int64_t other = PackOverrides(5, 60);
  EXPECT_EQ(MergedOverrides(one, other), PackOverrides(3, 60));
  EXPECT_EQ(MergedOverrides(other, one), PackOverrides(3, 60));
  EXPECT_EQ(MergedOverrides(0, other), other);
  EXPECT_EQ(MergedOverrides(PackOverrides(0, 90), other), PackOverrides(5, 90));
  const int64_t largest = PackOverrides(kMaxOwnMinCount, kMaxOwnTtl);
  const int64_t packed = PackCount(int64_t{1} << 40, largest);
  EXPECT_FALSE(HasProbability(packed));
  EXPECT_EQ(OccurrencesOf(packed), kMaxOccurrences);
  EXPECT_EQ(OwnMinCountOf(packed), kMaxOwnMinCount);
  EXPECT_EQ(OwnTtlOf(packed), kMaxOwnTtl);
  EXPECT_EQ(OverridesOf(packed), largest);
}

TEST(PackedCountTest, AProbabilityHasItsTtl) {
  const int64_t packed = PackCount(1, kMaxOverrides);
  EXPECT_TRUE(HasProbability(packed));
  EXPECT_EQ(OccurrencesOf(packed), 1);
  EXPECT_EQ(OwnProbabilityOf(packed), 1.0);
  EXPECT_EQ(OwnTtlOf(packed), kMaxOwnTtl);
  EXPECT_EQ(OverridesOf(packed), kMaxOverrides);
  const auto probability = [](int64_t threshold) {
    return OwnProbabilityOf(PackCount(1, PackOverrides(threshold, 0, true)));
  };
  EXPECT_EQ(probability(0), 0x1p-31);
  EXPECT_EQ(probability(30 << 11), 0.5);
  EXPECT_EQ(probability(30 << 11 | 1024), 0.75);
  EXPECT_TRUE(AreOverrides(PackOverrides(kCertainThreshold, 7, true)));
  EXPECT_FALSE(AreOverrides(PackOverrides(kCertainThreshold + 1, 7, true)));
  EXPECT_TRUE(AreOverrides(PackOverrides(kCertainThreshold + 1, 7)));
  EXPECT_FALSE(AreOverrides(-1));
  EXPECT_FALSE(AreOverrides(kMaxOverrides + 1));
}

TEST(PackedCountTest, TheLargestProbabilityAppliesAndAMinCountGoesFirst) {
  const int64_t rare = PackOverrides(100, 60, true);
  const int64_t often = PackOverrides(kCertainThreshold, 7, true);
  const int64_t counted = PackOverrides(kMaxOwnMinCount, 9);
  const auto check = [](int64_t one, int64_t other, int64_t expected) {
    EXPECT_EQ(MergedOverrides(one, other), expected);
    EXPECT_EQ(MergedOverrides(other, one), expected);
  };
  check(rare, often, PackOverrides(kCertainThreshold, 60, true));
  check(rare, counted, PackOverrides(kMaxOwnMinCount, 60));
  check(often, counted, PackOverrides(kMaxOwnMinCount, 9));
  check(often, 0, often);
  check(PackOverrides(0, 0, true), PackOverrides(0, 90),
        PackOverrides(0, 90, true));
}

}  // namespace
}  // namespace monolith_tf
