#include "ops/cc/memory/free_ranges.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <map>
#include <random>

namespace monolith_tf {
namespace {

TEST(FreeRangesTest, TheLowestRangeThatIsLongEnoughIsFound) {
  FreeRanges ranges;
  EXPECT_TRUE(ranges.Find(1).empty());
  ranges.Insert(100, 10);
  ranges.Insert(0, 5);
  ranges.Insert(200, 50);
  EXPECT_EQ(ranges.Find(1).begin, 0u);
  EXPECT_EQ(ranges.Find(6).begin, 100u);
  EXPECT_EQ(ranges.Find(10).length, 10u);
  EXPECT_EQ(ranges.Find(11).begin, 200u);
  EXPECT_TRUE(ranges.Find(51).empty());
  EXPECT_EQ(ranges.Find(1, 1).begin, 100u);
  EXPECT_EQ(ranges.Find(1, 100).begin, 100u);
  EXPECT_EQ(ranges.Find(1, 101).end(), 250u);
  EXPECT_TRUE(ranges.Find(1, 201).empty());
}

TEST(FreeRangesTest, TheRangeBeforeAPositionIsFound) {
  FreeRanges ranges;
  EXPECT_TRUE(ranges.Before(7).empty());
  ranges.Insert(100, 10);
  ranges.Insert(200, 50);
  EXPECT_TRUE(ranges.Before(99).empty());
  EXPECT_EQ(ranges.Before(100).begin, 100u);
  EXPECT_EQ(ranges.Before(199).begin, 100u);
  EXPECT_EQ(ranges.Before(1000).begin, 200u);
}

TEST(FreeRangesTest, RandomOperationsAgreeWithAMap) {
  FreeRanges ranges;
  std::map<uint64_t, uint64_t> expected;
  std::mt19937_64 random(3);
  for (int i = 0; i < 50000; ++i) {
    const uint64_t place = random() % 2000 * 100;
    // Mostly growing, then mostly shrinking.
    if (random() % 10000 >= static_cast<uint64_t>(i) / 5) {
      if (expected.emplace(place, 1 + random() % 100).second) {
        ranges.Insert(place, expected[place]);
      }
    } else if (!expected.empty()) {
      auto gone = expected.lower_bound(place);
      if (gone == expected.end()) gone = expected.begin();
      ranges.Erase(gone->first);
      expected.erase(gone);
    }
    const uint64_t length = 1 + random() % 100;
    auto found = expected.lower_bound(place);
    while (found != expected.end() && found->second < length) ++found;
    const FreeRanges::Range range = ranges.Find(length, place);
    ASSERT_EQ(range.empty(), found == expected.end());
    if (!range.empty()) {
      ASSERT_EQ(range.begin, found->first);
      ASSERT_EQ(range.length, found->second);
    }
    const auto after = expected.upper_bound(place + 50);
    const FreeRanges::Range before = ranges.Before(place + 50);
    ASSERT_EQ(before.empty(), after == expected.begin());
    if (!before.empty()) {
      ASSERT_EQ(before.begin, std::prev(after)->first);
    }
  }
}

}  // namespace
}  // namespace monolith_tf
