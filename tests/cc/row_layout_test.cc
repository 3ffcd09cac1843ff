#include "ops/cc/table/row_layout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/table/config_validation.h"
#include "ops/cc/table/row.h"

namespace monolith_tf {
namespace {

const SegmentConfig kBias = {1, {"sgd", {}, {}}, {"zeros", {}}, {}};
const SegmentConfig kVector = {
    3, {"adagrad", {0.1f, 0.0f}, {}}, {"constant", {0.5f}}, {}};

TableConfig ConfigOf(std::vector<SegmentConfig> segments,
                     bool tracks_changes = true) {
  TableConfig config;
  config.name = "movie";
  config.seed = 7;
  config.segments = std::move(segments);
  config.tracks_changes = tracks_changes;
  EXPECT_TRUE(ValidateConfig(config).ok()) << ValidateConfig(config);
  return config;
}

// A record with bytes around it that nobody may touch.
class Record {
 public:
  explicit Record(const RowLayout& layout, int64_t id = 42)
      : bytes_(layout.record_bytes()), memory_(bytes_ / 8 + 17, kGuard) {
    row()->id = id;
  }
  ~Record() {
    const char* const end = reinterpret_cast<char*>(row()) + bytes_;
    for (int i = 0; i < 64; ++i) {
      EXPECT_EQ(reinterpret_cast<char*>(memory_.data())[i], 0x5A);
      EXPECT_EQ(end[i], 0x5A) << "byte " << i << " behind the record";
    }
  }
  Row* row() { return reinterpret_cast<Row*>(memory_.data() + 8); }

 private:
  static constexpr uint64_t kGuard = 0x5A5A5A5A5A5A5A5A;
  const size_t bytes_;
  std::vector<uint64_t> memory_;
};

std::vector<float> ValuesOf(const RowLayout& layout, const Row* row,
                            int64_t step = 1) {
  std::vector<float> values(layout.dim());
  layout.Read(row, step, values.data());
  return values;
}

std::vector<float> FloatsOf(const RowLayout& layout, const Row* row) {
  std::vector<float> floats(layout.row_width());
  layout.ReadAll(row, floats.data());
  return floats;
}

void Apply(const RowLayout& layout, Row* row, const std::vector<float>& rates,
           const std::vector<float>& gradient, int64_t global_step = 1) {
  RowLayout::Step step = layout.Prepare(rates.data(), global_step);
  const float* const gradients[] = {gradient.data()};
  layout.Apply(&step, 1, &row, gradients);
}

TEST(RowLayoutTest, SegmentsLieOneAfterTheOtherWithTheirSlotsBehindAll) {
  const RowLayout layout(ConfigOf({kBias, kVector}));
  EXPECT_EQ(layout.num_segments(), 2);
  EXPECT_EQ(layout.dim(), 4);
  EXPECT_EQ(layout.row_width(), 7);
  EXPECT_EQ(layout.record_bytes(), 16u + 7 * 4);
  EXPECT_EQ(layout.read_bytes(), 16u + 4 * 4);
  Record record(layout);
  layout.Initialize(record.row());
  EXPECT_EQ(FloatsOf(layout, record.row()),
            (std::vector<float>{0, 0.5f, 0.5f, 0.5f, 0.1f, 0.1f, 0.1f}));
  EXPECT_EQ(ValuesOf(layout, record.row()),
            (std::vector<float>{0, 0.5f, 0.5f, 0.5f}));
}

TEST(RowLayoutTest, ARowWithoutTimesIsEightBytesShorter) {
  const RowLayout layout(ConfigOf({kBias, kVector}, false));
  EXPECT_FALSE(layout.tracks_changes());
  EXPECT_EQ(layout.record_bytes(), 8u + 7 * 4);
  Record record(layout);
  layout.Initialize(record.row());
  EXPECT_EQ(record.row()->id, 42);
  EXPECT_EQ(ValuesOf(layout, record.row()),
            (std::vector<float>{0, 0.5f, 0.5f, 0.5f}));
}

TEST(RowLayoutTest, WithACapARowKnowsItsUpdateForEightBytesMore) {
  for (const bool tracks_changes : {true, false}) {
    for (const bool is_in_bytes : {true, false}) {
      TableConfig config = ConfigOf({kBias, kVector}, tracks_changes);
      EXPECT_FALSE(RowLayout(config).numbers_updates());
      config.eviction.policy = "lowest_norm";
      (is_in_bytes ? config.eviction.max_bytes : config.eviction.max_rows) = 9;
      const RowLayout layout(config);
      EXPECT_TRUE(layout.numbers_updates());
      EXPECT_EQ(layout.tracks_changes(), tracks_changes);
      EXPECT_EQ(layout.record_bytes(), (tracks_changes ? 24u : 16u) + 7 * 4);
      Record record(layout);
      layout.SetUpdate(record.row(), int64_t{1} << 60);
      if (tracks_changes) record.row()->last_update = 0xFFFFFFFF;
      layout.Initialize(record.row());
      EXPECT_EQ(layout.UpdateOf(record.row()), int64_t{1} << 60);
      EXPECT_EQ(record.row()->id, 42);
      EXPECT_EQ(FloatsOf(layout, record.row()),
                (std::vector<float>{0, 0.5f, 0.5f, 0.5f, 0.1f, 0.1f, 0.1f}));
      layout.SetUpdate(record.row(), 0);
      EXPECT_EQ(ValuesOf(layout, record.row()),
                (std::vector<float>{0, 0.5f, 0.5f, 0.5f}));
    }
  }
}

TEST(RowLayoutTest, EachSegmentIsSteppedByItsOptimizerAndItsRate) {
  const RowLayout layout(ConfigOf({kBias, kVector}));
  Record record(layout);
  layout.Initialize(record.row());
  Apply(layout, record.row(), {1.0f, 2.0f}, {3.0f, 0.3f, 0.0f, -0.3f});
  const float accumulator = 0.1f + 0.3f * 0.3f;
  const float step = 0.3f * 2.0f / std::sqrt(accumulator);
  const std::vector<float> floats = FloatsOf(layout, record.row());
  EXPECT_EQ(floats[0], -3.0f);
  EXPECT_NEAR(floats[1], 0.5f - step, 1e-6);
  EXPECT_EQ(floats[2], 0.5f);
  EXPECT_NEAR(floats[3], 0.5f + step, 1e-6);
  EXPECT_EQ(floats[4], accumulator);
  EXPECT_EQ(floats[5], 0.1f);
  EXPECT_EQ(floats[6], accumulator);
}

TEST(RowLayoutTest, ARowThatComesTwiceIsSteppedTwice) {
  for (const char* precision : {"float32", "bfloat16"}) {
    SegmentConfig vector = kVector;
    vector.precision.kind = precision;
    const RowLayout layout(ConfigOf({kBias, vector}));
    Record once(layout);
    Record twice(layout);
    layout.Initialize(once.row());
    layout.Initialize(twice.row());
    const std::vector<float> gradient = {1.0f, 0.5f, 0.25f, -1.0f};
    Apply(layout, once.row(), {1, 1}, gradient);
    Apply(layout, once.row(), {1, 1}, gradient);
    const float rates[] = {1, 1};
    RowLayout::Step step = layout.Prepare(rates, 1);
    Row* const rows[] = {twice.row(), twice.row()};
    const float* const gradients[] = {gradient.data(), gradient.data()};
    layout.Apply(&step, 2, rows, gradients);
    EXPECT_EQ(FloatsOf(layout, once.row()), FloatsOf(layout, twice.row()));
  }
}

TEST(RowLayoutTest, EncodedSegmentsTakeTheirBytes) {
  SegmentConfig int8 = kVector;
  int8.precision = {"int8", {1.0f}};
  SegmentConfig half = kVector;
  half.precision.kind = "float16";
  // 3 bytes, 1 of padding; 6, 2 before the float; 4; 6, 2 before the slots.
  const RowLayout layout(ConfigOf({int8, half, kBias, half}));
  EXPECT_EQ(layout.dim(), 10);
  EXPECT_EQ(layout.row_width(), 10 + 9);
  EXPECT_EQ(layout.read_bytes(), 16u + 4 + 6 + 2 + 4 + 6 + 2);
  EXPECT_EQ(layout.record_bytes(), layout.read_bytes() + 9 * 4);
}

TEST(RowLayoutTest, TheNormIsThatOfTheWeightsOfAllSegments) {
  for (const char* precision : {"float32", "bfloat16"}) {
    SegmentConfig vector = kVector;
    vector.precision.kind = precision;
    const RowLayout layout(ConfigOf({kBias, vector}));
    Record record(layout);
    layout.Initialize(record.row());
    const std::vector<float> weights = {1, 2, -4, 0};
    layout.WriteWeights(record.row(), weights.data());
    float scratch[4];
    EXPECT_EQ(layout.SquaredNorm(record.row(), scratch), 21.0f);
  }
}

TEST(RowLayoutTest, AnAssignedNewRowHasTheSlotsOfItsWeights) {
  // The slot of delay compensation is a copy of the weights.
  for (const char* precision : {"float32", "bfloat16"}) {
    SegmentConfig segment = kVector;
    segment.optimizer = {"delay_compensated_sgd", {0.5f}, {}};
    segment.precision.kind = precision;
    const RowLayout layout(ConfigOf({segment}));
    Record record(layout);
    const std::vector<float> weights = {1, 2, 0.3f};
    layout.Initialize(record.row(), weights.data());
    const std::vector<float> floats = FloatsOf(layout, record.row());
    EXPECT_EQ(floats[0], 1.0f);
    EXPECT_EQ(floats[1], 2.0f);
    EXPECT_NEAR(floats[2], 0.3f, 0.002f);
    EXPECT_EQ(std::vector<float>(floats.begin(), floats.begin() + 3),
              std::vector<float>(floats.begin() + 3, floats.end()));
  }
}

TEST(RowLayoutTest, TheValueOfAOnebitSegmentChangesWithTheStep) {
  SegmentConfig segment = kVector;
  segment.precision = {"onebit", {0.25f, 100, 2}};
  const RowLayout layout(ConfigOf({segment}));
  Record record(layout);
  layout.Initialize(record.row());
  const float early = ValuesOf(layout, record.row(), 1)[0];
  EXPECT_NEAR(early, 0.25 * std::tanh(100.0 / 99 * 0.5 / 0.25), 0.001);
  EXPECT_EQ(ValuesOf(layout, record.row(), 100)[0], 0.25f);
  EXPECT_EQ(FloatsOf(layout, record.row())[0], 0.5f);
}

TEST(RowLayoutTest, TheGradientOfAOnebitSegmentIsThatOfTheValueThatWasRead) {
  // Its momentum is the gradient that it was stepped by.
  SegmentConfig segment = {1,
                           {"sgd", {0.5f, 0}, {}},
                           {"constant", {0.25f}},
                           {"onebit", {0.5f, 2, 2}}};
  const RowLayout layout(ConfigOf({segment}));
  // The model reads at the number of the update before. w / amplitude is 1 / 2:
  // at 0, beta is 1, and 1 - tanh(1/2)^2 = 1 - 0.462117^2; at 1, beta is 2, and
  // 2 (1 - tanh(1)^2) = 2 (1 - 0.761594^2); from 2 on it passes through.
  const double expected[] = {0.786448, 0.839949, 1.0, 1.0};
  for (int64_t global_step = 1; global_step <= 4; ++global_step) {
    Record record(layout);
    layout.Initialize(record.row());
    Apply(layout, record.row(), {1.0f}, {-1.0f}, global_step);
    EXPECT_NEAR(FloatsOf(layout, record.row())[1], expected[global_step - 1],
                1e-6)
        << global_step;
  }
}

TEST(RowLayoutTest, WholeRowsTellWhatALookupReturns) {
  SegmentConfig annealed = kVector;
  annealed.precision = {"onebit", {0.25f, 100, 2}};
  SegmentConfig levels = kVector;
  levels.precision = {"int8", {1.0f}};
  const RowLayout layout(ConfigOf({levels, annealed, kVector}));
  Record record(layout);
  layout.Initialize(record.row());
  const std::vector<float> floats = FloatsOf(layout, record.row());
  for (const int64_t step : {1, 50, 100}) {
    std::vector<float> values(layout.dim());
    layout.ValuesOf(floats.data(), step, values.data());
    EXPECT_EQ(values, ValuesOf(layout, record.row(), step));
  }
}

// Rows of random segments.
class RandomLayouts {
 public:
  TableConfig Next() {
    static const std::vector<OptimizerConfig> kOptimizers = {
        {"sgd", {}, {}},
        {"adagrad", {0.1f, 1e-7f}, {}},
        {"row_wise_adagrad", {0.1f, 1e-7f}, {}},
        {"adam", {0.9f, 0.999f, 1e-7f, 1, 1}, {}},
        {"delay_compensated_adagrad", {0.1f, 0.1f, 1e-7f}, {}}};
    static const std::vector<PrecisionConfig> kPrecisions = {
        {"float32", {}},  {"bfloat16", {}},          {"float16", {}},
        {"int8", {0.7f}}, {"onebit", {0.5f, 10, 2}}, {"onebit", {0.5f, 10, 1}}};
    std::vector<SegmentConfig> segments(1 + random() % 4);
    for (SegmentConfig& segment : segments) {
      segment.dim = 1 + random() % 40;
      segment.optimizer = kOptimizers[random() % kOptimizers.size()];
      segment.initializer = {"uniform", {-0.4f, 0.6f}};
      segment.precision = kPrecisions[random() % kPrecisions.size()];
    }
    return ConfigOf(segments, random() % 2 == 0);
  }
  std::mt19937_64 random{5};
};

TEST(RowLayoutTest, AnInitialRowReadsTheSameBeforeAndAfterItIsStored) {
  RandomLayouts layouts;
  for (int i = 0; i < 200; ++i) {
    const RowLayout layout(layouts.Next());
    const auto id = static_cast<int64_t>(layouts.random());
    Record record(layout, id);
    layout.Initialize(record.row());
    for (const int64_t step : {1, 5, 10}) {
      std::vector<float> initial(layout.dim());
      layout.ReadInitial(id, step, initial.data());
      ASSERT_EQ(ValuesOf(layout, record.row(), step), initial);
    }
  }
}

TEST(RowLayoutTest, WhatWasReadIsWrittenExactlyAndNothingBeside) {
  RandomLayouts layouts;
  for (int i = 0; i < 200; ++i) {
    const RowLayout layout(layouts.Next());
    const std::vector<float> rates(layout.num_segments(), 0.1f);
    Record record(layout);
    std::vector<float> weights(layout.dim());
    for (float& weight : weights) {
      weight = static_cast<float>(layouts.random() % 1000) / 1000.0f - 0.5f;
    }
    layout.Initialize(record.row(), weights.data());
    for (int64_t step = 1; step < 4; ++step) {
      Apply(layout, record.row(), rates, weights, step);
    }
    Record copy(layout);
    const std::vector<float> floats = FloatsOf(layout, record.row());
    layout.WriteAll(copy.row(), floats.data());
    ASSERT_EQ(FloatsOf(layout, copy.row()), floats);
    ASSERT_EQ(ValuesOf(layout, copy.row()), ValuesOf(layout, record.row()));
    ASSERT_EQ(record.row()->id, 42);
    // And steps go on from there alike.
    Apply(layout, record.row(), rates, weights, 9);
    Apply(layout, copy.row(), rates, weights, 9);
    ASSERT_EQ(FloatsOf(layout, copy.row()), FloatsOf(layout, record.row()));
  }
}

TEST(RowTest, FrequencyIsAnUnbiasedCount) {
  EXPECT_EQ(RaisedFrequency(0, 1, 0), 1);
  EXPECT_EQ(RaisedFrequency(0, 3, ~uint64_t{0}), 2);
  EXPECT_EQ(RaisedFrequency(3, 0, 0), 3);
  EXPECT_EQ(RaisedFrequency(15, int64_t{1} << 32, 0), Row::kMaxFrequency);
  constexpr int kNumCounters = 20000;
  for (const int64_t count : {1, 3}) {
    double sum = 0;
    for (uint64_t i = 0; i < kNumCounters; ++i) {
      int frequency = 0;
      for (uint64_t j = 0; j < 60; ++j) {
        frequency = RaisedFrequency(frequency, count, Mix64(i * 1000 + j));
      }
      sum += (1 << frequency) - 1;
    }
    // One counter of n has a standard deviation of about n / sqrt(2).
    EXPECT_NEAR(sum / kNumCounters, 60.0 * count, 60.0 * count * 0.02);
  }
}

}  // namespace
}  // namespace monolith_tf
