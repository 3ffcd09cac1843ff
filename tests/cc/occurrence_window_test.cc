#include "ops/cc/admission/occurrence_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>

namespace monolith_tf {
namespace {

TEST(OccurrenceWindowTest, WithoutAWindowAllTimesAreOfOneInterval) {
  const OccurrenceWindow window(0);
  EXPECT_FALSE(window.is_limited());
  EXPECT_EQ(window.IntervalOf(0), 0u);
  EXPECT_EQ(window.IntervalOf(0xFFFFFFFF), 0u);
}

TEST(OccurrenceWindowTest, AnIntervalIsHalfAWindow) {
  const OccurrenceWindow window(100);
  EXPECT_TRUE(window.is_limited());
  EXPECT_EQ(window.IntervalOf(49), 0u);
  EXPECT_EQ(window.IntervalOf(50), 1u);
  EXPECT_EQ(window.IntervalOf(149), 2u);
  // An odd window is rounded up, and the shortest has intervals of a second.
  EXPECT_EQ(OccurrenceWindow(101).IntervalOf(50), 0u);
  EXPECT_EQ(OccurrenceWindow(1).IntervalOf(7), 7u);
  EXPECT_EQ(OccurrenceWindow(0xFFFFFFFF).IntervalOf(0xFFFFFFFF), 1u);
}

TEST(OccurrenceCountsTest, TheIntervalOfTheClockAndTheOneBeforeCount) {
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

TEST(OccurrenceCountsTest, RandomEventsAgreeWithAMapOfIntervals) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    OccurrenceCounts counts = {0, 0, 0};
    std::map<uint32_t, int64_t> oracle;
    uint32_t interval = 0;
    for (int i = 0; i < 50; ++i) {
      interval += random() % 4 == 0 ? random() % 4 : 0;
      const uint32_t event =
          interval - std::min<uint32_t>(interval, random() % 3);
      const uint32_t now = std::max(event, counts.interval);
      const int64_t count = random() % 5;
      oracle[now] += count;
      const int64_t before = now == 0 ? 0 : oracle[now - 1];
      ASSERT_EQ(counts.Add(count, event), oracle[now] + before);
    }
  }
}

}  // namespace
}  // namespace monolith_tf
