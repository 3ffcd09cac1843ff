#include "ops/cc/admission/count_sketch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/admission/occurrence_window.h"
#include "ops/cc/hash/partition.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

constexpr uint64_t kKey = 0x1234;

// The formula of count_sketch.h.
double ExpectedError(double bytes_per_id, double cells) {
  const double mean = 64.0 / bytes_per_id;
  double error = 0;
  double probability = std::exp(-mean);
  for (int others = 0; others < 200; ++others) {
    error += probability * std::pow(1 - std::pow(1 - 1 / cells, 4 * others), 4);
    probability *= mean / (others + 1);
  }
  return error;
}

// Of ids that were never seen, the share that a sketch of `bytes_per_id` full
// of others takes for one that comes the second time.
double MeasuredError(double bytes_per_id, int64_t max_count, bool has_window) {
  constexpr int64_t kNumIds = 400000;
  constexpr int64_t kNumProbes = 8000;
  CountSketch sketch(static_cast<int64_t>(kNumIds * bytes_per_id), max_count,
                     has_window, kKey);
  for (int64_t id = 0; id < kNumIds; ++id) sketch.Add(id, 1, 5);
  int64_t num_wrong = 0;
  for (int64_t id = 0; id < kNumProbes; ++id) {
    num_wrong += sketch.Add(-1 - id, 1, 5) > 1;
  }
  return static_cast<double>(num_wrong) / kNumProbes;
}

TEST(CountSketchTest, TheErrorIsThatOfTheFormula) {
  // Within 3 standard deviations, and what the formula leaves out.
  EXPECT_NEAR(ExpectedError(16, 60), 0.006, 0.001);
  EXPECT_NEAR(ExpectedError(8, 60), 0.04, 0.005);
  EXPECT_NEAR(MeasuredError(16, 3, false), ExpectedError(16, 60), 0.004);
  EXPECT_NEAR(MeasuredError(8, 3, false), ExpectedError(8, 60), 0.008);
  EXPECT_NEAR(MeasuredError(16, 300, false), ExpectedError(16, 30), 0.008);
  EXPECT_NEAR(MeasuredError(16, 3, true), ExpectedError(16, 30), 0.008);
  EXPECT_NEAR(MeasuredError(32, 300, true), ExpectedError(32, 15), 0.008);
}

TEST(CountSketchTest, AnEmptySketchCountsOneIdExactly) {
  CountSketch sketch(4096, 3, /*has_window=*/false, kKey);
  EXPECT_EQ(sketch.Add(42, 1, 0), 1);
  EXPECT_EQ(sketch.Add(42, 2, 0), 3);
  EXPECT_EQ(sketch.Add(42, 1000, 0), 255);
  EXPECT_EQ(sketch.max_count(), 255);
  CountSketch wide(4096, 256, /*has_window=*/false, kKey);
  EXPECT_EQ(wide.Add(42, 1000, 0), 1000);
  EXPECT_EQ(wide.Add(42, 1 << 30, 0), OccurrenceCounts::kMax);
  EXPECT_EQ(wide.max_count(), OccurrenceCounts::kMax);
}

TEST(CountSketchTest, AFreshSketchIsEmptyWhateverItsMemoryHeld) {
  for (int round = 0; round < 20; ++round) {
    const std::unique_ptr<char[]> dirt(new char[4096]);
    std::memset(dirt.get(), 0x55, 4096);
    const_cast<volatile char*>(dirt.get())[round] = 1;
    std::vector<char*> blocks;
    for (int i = 0; i < 100; ++i) {
      blocks.push_back(static_cast<char*>(std::aligned_alloc(64, 1024)));
      std::memset(blocks.back(), 0x77, 1024);
    }
    for (char* block : blocks) std::free(block);
    CountSketch sketch(64 * 1024, 3, round % 2 == 0, kKey);
    for (int64_t id = 0; id < 64; ++id) {
      CountSketch one(64 * 1024, 3, round % 2 == 0, kKey);
      ASSERT_EQ(one.Add(id * 977, 1, 7), 1);
    }
  }
}

TEST(CountSketchTest, AWindowForgets) {
  for (const int64_t max_count : {3, 300}) {
    CountSketch sketch(4096, max_count, /*has_window=*/true, kKey);
    EXPECT_EQ(sketch.Add(42, 2, 10), 2);
    EXPECT_EQ(sketch.Add(42, 1, 11), 3);
    EXPECT_EQ(sketch.Add(42, 1, 12), 2);
    EXPECT_EQ(sketch.Add(42, 1, 14), 1);
    // Late counts as now.
    EXPECT_EQ(sketch.Add(42, 1, 3), 2);
    EXPECT_EQ(sketch.Add(42, 1, 0xFFFFFFFF), 1);
  }
}

TEST(CountSketchTest, CountsAreNeverBelowTheTruth) {
  std::mt19937_64 random(7);
  for (const int64_t max_count : {200, 300}) {
    for (const bool has_window : {false, true}) {
      CountSketch sketch(8192, max_count, has_window, kKey);
      std::map<int64_t, OccurrenceCounts> truth;
      uint32_t interval = 0;
      for (int i = 0; i < 40000; ++i) {
        if (has_window && random() % 2000 == 0) ++interval;
        const int64_t id = random() % (1 + random() % 3000);
        const int64_t count = 1 + random() % 3;
        const int64_t expected = truth[id].Add(count, interval);
        const int64_t counted = sketch.Add(id, count, interval);
        ASSERT_GE(counted, std::min(expected, sketch.max_count())) << id;
      }
    }
  }
}

TEST(CountSketchTest, ASavedSketchIsRestoredExactly) {
  for (const bool has_window : {false, true}) {
    CountSketch sketch(32768, 3, has_window, kKey);
    for (int64_t id = 0; id < 3000; ++id) sketch.Add(id, 1 + id % 3, 7);
    CountSketch restored(32768, 3, has_window, kKey);
    for (int group = 0; group < kNumGroups; ++group) {
      const std::vector<int64_t> saved = sketch.Export(group);
      ASSERT_EQ(saved.size(), 32768u / 64 / 8);
      ASSERT_TRUE(restored.Import(group, saved.data(), saved.size()).ok());
      EXPECT_EQ(restored.Export(group), saved);
    }
    for (int64_t id = 0; id < 3000; ++id) {
      ASSERT_EQ(sketch.Add(id, 1, 8), restored.Add(id, 1, 8));
    }
  }
}

TEST(CountSketchTest, WhatTwoShardsCountedOfAGroupIsPutTogether) {
  // Shards count different ids, one of them later than the other.
  CountSketch first(4096, 3, /*has_window=*/true, kKey);
  CountSketch second(4096, 3, /*has_window=*/true, kKey);
  std::map<int64_t, OccurrenceCounts> truth;
  for (int64_t id = 0; id < 600; ++id) {
    CountSketch& owner = id % 2 == 0 ? first : second;
    for (const uint32_t interval : {uint32_t{6}, uint32_t(7 + id % 2)}) {
      owner.Add(id, 1 + id % 3, interval);
      truth[id].Add(1 + id % 3, interval);
    }
  }
  CountSketch merged(4096, 3, /*has_window=*/true, kKey);
  for (int group = 0; group < kNumGroups; ++group) {
    for (const CountSketch* from : {&first, &second}) {
      const std::vector<int64_t> saved = from->Export(group);
      ASSERT_TRUE(merged.Import(group, saved.data(), saved.size()).ok());
    }
  }
  for (auto& [id, counts] : truth) {
    ASSERT_GE(merged.Add(id, 1, 8), counts.Add(1, 8));
  }
}

TEST(CountSketchTest, AnUntouchedGroupHasNothingToSaveAndNoMemory) {
  CountSketch sketch(1 << 20, 3, /*has_window=*/false, kKey);
  const int64_t empty_bytes = sketch.memory_bytes();
  sketch.Add(42, 1, 0);
  EXPECT_EQ(sketch.memory_bytes(), empty_bytes + (1 << 20) / kNumGroups);
  for (int group = 0; group < kNumGroups; ++group) {
    EXPECT_EQ(sketch.Export(group).empty(), group != GroupOf(42));
  }
  sketch.Clear();
  EXPECT_EQ(sketch.memory_bytes(), empty_bytes);
  EXPECT_EQ(sketch.Add(42, 1, 0), 1);
}

TEST(CountSketchTest, ASketchOfAnotherSizeIsRefused) {
  CountSketch sketch(8192, 3, /*has_window=*/false, kKey);
  sketch.Add(42, 1, 0);
  CountSketch other(16384, 3, /*has_window=*/false, kKey);
  const std::vector<int64_t> saved = sketch.Export(GroupOf(42));
  ExpectError(other.Import(GroupOf(42), saved.data(), saved.size()),
              absl::StatusCode::kInvalidArgument,
              {"has 2 lines of 64 bytes, this one has 4",
               "sketch_bytes that it was saved with"});
  EXPECT_EQ(other.Add(42, 1, 0), 1);
  EXPECT_TRUE(other.Import(0, nullptr, 0).ok());
}

}  // namespace
}  // namespace monolith_tf
