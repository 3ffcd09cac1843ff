#include "ops/cc/admission/occurrence_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>

namespace monolith_tf {
namespace {

TEST(OccurrenceWindowTest, WithoutAWindowAllTimesAreOfOneBucket) {
  const OccurrenceWindow window(0);
  EXPECT_FALSE(window.is_limited());
  EXPECT_EQ(window.BucketOf(0), 0u);
  EXPECT_EQ(window.BucketOf(0xFFFFFFFF), 0u);
}

TEST(OccurrenceWindowTest, ABucketIsHalfAWindow) {
  const OccurrenceWindow window(100);
  EXPECT_TRUE(window.is_limited());
  EXPECT_EQ(window.BucketOf(49), 0u);
  EXPECT_EQ(window.BucketOf(50), 1u);
  EXPECT_EQ(window.BucketOf(149), 2u);
  // An odd window is rounded up, and the shortest has buckets of a second.
  EXPECT_EQ(OccurrenceWindow(101).BucketOf(50), 0u);
  EXPECT_EQ(OccurrenceWindow(1).BucketOf(7), 7u);
  EXPECT_EQ(OccurrenceWindow(0xFFFFFFFF).BucketOf(0xFFFFFFFF), 1u);
}

TEST(OccurrenceCountsTest, TheBucketOfTheClockAndTheOneBeforeCount) {
  OccurrenceCounts counts = {0, 0, 0};
  EXPECT_EQ(counts.Add(2, 10), 2);
  EXPECT_EQ(counts.Add(3, 10), 5);
  EXPECT_EQ(counts.Add(1, 11), 6);
  EXPECT_EQ(counts.Add(1, 12), 2);
  EXPECT_EQ(counts.Add(1, 14), 1);
  EXPECT_EQ(counts.Add(0, 15), 1);
  EXPECT_EQ(counts.Add(0, 17), 0);
}

TEST(OccurrenceCountsTest, AnEventThatComesLateCountsNow) {
  OccurrenceCounts counts = {0, 0, 0};
  EXPECT_EQ(counts.Add(1, 9), 1);
  EXPECT_EQ(counts.Add(1, 4), 2);
  EXPECT_EQ(counts.Add(1, 10), 3);
  EXPECT_EQ(counts.Add(1, 11), 2);
}

TEST(OccurrenceCountsTest, CountsStopAtTheirMaximum) {
  OccurrenceCounts counts = {0, 0, 0};
  EXPECT_EQ(counts.Add(65534, 0), 65534);
  EXPECT_EQ(counts.Add(int64_t{1} << 40, 0), OccurrenceCounts::kMax);
  EXPECT_EQ(counts.Add(1, 0), OccurrenceCounts::kMax);
  EXPECT_EQ(counts.Add(3, 1), OccurrenceCounts::kMax + 3);
}

TEST(OccurrenceCountsTest, RandomEventsAgreeWithAMapOfBuckets) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    OccurrenceCounts counts = {0, 0, 0};
    std::map<uint32_t, int64_t> oracle;
    uint32_t bucket = 0;
    for (int i = 0; i < 50; ++i) {
      bucket += random() % 4 == 0 ? random() % 4 : 0;
      const uint32_t event = bucket - std::min<uint32_t>(bucket, random() % 3);
      const uint32_t now = std::max(event, counts.bucket);
      const int64_t count = random() % 5;
      oracle[now] += count;
      const int64_t before = now == 0 ? 0 : oracle[now - 1];
      ASSERT_EQ(counts.Add(count, event), oracle[now] + before);
    }
  }
}

}  // namespace
}  // namespace monolith_tf
