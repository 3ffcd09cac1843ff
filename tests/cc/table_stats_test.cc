#include "ops/cc/table/table_stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/cc/initializer/pretrained_rows.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_set.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

TEST(TableStatsTest, AFreshTableHasDoneNothing) {
  const TableStats stats = MakeTable(AdagradConfig(16))->stats();
  for (const int64_t number :
       {stats.num_rows, stats.num_counted, stats.num_admitted,
        stats.num_written, stats.num_expired, stats.num_capped,
        stats.num_removed, stats.num_rejected, stats.num_bad_gradients,
        stats.row_bytes, stats.index_entries, stats.index_stash,
        stats.sketch_bytes, stats.probed_entries, stats.pretrained_bytes,
        stats.pool_bytes}) {
    EXPECT_EQ(number, 0);
  }
}

TEST(TableStatsTest, PretrainedRowsHaveBytes) {
  const auto table = MakeTable(SgdConfig(2));
  const int64_t before = table->memory_bytes();
  const std::vector<int64_t> ids = {7, 8, 9};
  const std::vector<float> rows(6, 0.5f);
  auto pretrained = PretrainedRows::Create(ids.data(), rows.data(), 3, 2);
  ASSERT_TRUE(pretrained.ok());
  // An id, a row and at least two places of four bytes for each.
  const int64_t bytes = (*pretrained)->bytes();
  EXPECT_GE(bytes, 3 * (8 + 2 * 4 + 2 * 4));
  EXPECT_LE(bytes, 3 * (8 + 2 * 4) + 16 * 4);
  ASSERT_TRUE(table->SetPretrained(0, *std::move(pretrained)).ok());
  EXPECT_EQ(table->stats().pretrained_bytes, bytes);
  EXPECT_EQ(table->memory_bytes(), before + bytes);
  // What was set before stays, because somebody may be reading it.
  pretrained = PretrainedRows::Create(ids.data(), rows.data(), 3, 2);
  ASSERT_TRUE(table->SetPretrained(0, *std::move(pretrained)).ok());
  EXPECT_EQ(table->stats().pretrained_bytes, 2 * bytes);
}

TEST(TableStatsTest, EveryEventIsCountedOnce) {
  TableConfig config = SgdConfig(2);
  config.admission.kind = "count";
  config.admission.min_count = 2;
  config.eviction.ttl_seconds = 100;
  config.eviction.max_rows = 8;
  const auto table = MakeTable(config);
  // 0 to 5 admitted, 6 to 9 counted.
  ASSERT_TRUE(
      Apply(table.get(),
            {Range(0, 10), 1, 1, 1, 1000, {2, 2, 2, 2, 2, 2, 1, 1, 1, 1}})
          .ok());
  TableStats stats = table->stats();
  EXPECT_EQ(stats.num_rows, 6);
  EXPECT_EQ(stats.num_counted, 4);
  EXPECT_EQ(stats.num_admitted, 6);
  EXPECT_EQ(stats.num_rejected, 4);
  EXPECT_EQ(stats.index_entries, 10);

  // 20 to 22 are new; one of all is too many.
  const std::vector<int64_t> written = {0, 1, 20, 21, 22};
  const std::vector<float> rows(10, 5.0f);
  ASSERT_TRUE(table->Assign(written.data(), rows.data(), 5, 1010).ok());
  stats = table->stats();
  EXPECT_EQ(stats.num_written, 3);
  EXPECT_EQ(stats.num_capped, 1);
  EXPECT_EQ(stats.num_rows, 8);

  const std::vector<int64_t> removed = {20, 6, 77};
  EXPECT_EQ(table->Remove(removed.data(), 3), 1);
  stats = table->stats();
  EXPECT_EQ(stats.num_removed, 1);
  EXPECT_EQ(stats.num_counted, 4);

  // 0, 1, 21, 22 live on, 3 of 2 to 5 expire.
  table->Sweep(1105);
  stats = table->stats();
  EXPECT_EQ(stats.num_expired, 3);
  EXPECT_EQ(stats.num_rows, 4);

  const std::vector<int64_t> imported = {0, 30};
  const std::vector<int64_t> stamps = {1105, 1105};
  ASSERT_TRUE(
      table->Import(imported.data(), stamps.data(), rows.data(), 2).ok());
  stats = table->stats();
  EXPECT_EQ(stats.num_written, 4);
  EXPECT_EQ(stats.num_rows, 5);
  // Every row came by one way and went by one.
  EXPECT_EQ(stats.num_admitted + stats.num_written,
            stats.num_rows + stats.num_expired + stats.num_capped +
                stats.num_removed);
  table->Clear();
  stats = table->stats();
  EXPECT_EQ(stats.num_removed, 6);
  EXPECT_EQ(stats.num_counted, 0);
  EXPECT_EQ(stats.index_entries, 0);
}

TEST(TableStatsTest, BytesAreThoseThatAreThere) {
  TableConfig config = AdagradConfig(16);
  config.admission.kind = "count";
  config.admission.min_count = 2;
  TableSet tables("model", 0, 1, 1);
  ASSERT_TRUE(tables.CreateTable(config).ok());
  ASSERT_TRUE(tables.StartDeltas().ok());
  const auto table = *tables.Find("movie");
  constexpr int64_t kNumRows = 200000;
  Update update;
  update.ids = Range(0, kNumRows);
  update.counts.assign(kNumRows, 2);
  ASSERT_TRUE(Apply(table.get(), update).ok());
  ASSERT_TRUE(Apply(table.get(), {Range(-50000, 50000)}).ok());
  const TableStats stats = table->stats();
  EXPECT_EQ(stats.row_bytes, kNumRows * (16 + 2 * 16 * 4));
  EXPECT_GE(stats.arena_bytes, stats.row_bytes);
  EXPECT_LT(stats.arena_bytes, 1.2 * stats.row_bytes);
  EXPECT_GE(stats.counter_bytes, 50000 * 16);
  EXPECT_LT(stats.counter_bytes, 2 * 50000 * 16);
  EXPECT_GE(stats.log_bytes, kNumRows * 8);
  EXPECT_LT(stats.log_bytes, 2 * kNumRows * 8);
  EXPECT_EQ(stats.index_entries, kNumRows + 50000);
  EXPECT_GE(stats.index_capacity, stats.index_entries);
  EXPECT_GE(stats.index_bytes, stats.index_capacity * 6);
  EXPECT_LT(stats.index_bytes, 16 * stats.index_entries);
  EXPECT_GE(stats.pool_bytes, stats.row_bytes / 2);
  EXPECT_LE(stats.huge_page_bytes, stats.pool_bytes);
  EXPECT_GT(stats.probed_entries, 1000);
  EXPECT_LE(stats.probed_in_first, stats.probed_entries);
  // An insert takes the emptier of two buckets.
  EXPECT_GT(stats.probed_in_first, 0.4 * stats.probed_entries);
  const int64_t bytes = table->memory_bytes();
  EXPECT_GE(bytes, stats.arena_bytes + stats.index_bytes + stats.counter_bytes +
                       stats.log_bytes);
  EXPECT_LT(bytes, stats.arena_bytes + stats.index_bytes + stats.counter_bytes +
                       stats.log_bytes + 6000000);
}

TEST(TableStatsTest, MemoryIsAllThatIsCountedAndThePagesThatHoldNothing) {
  TableConfig config = AdagradConfig(16);
  const auto empty_bytes = MakeTable(config)->memory_bytes();
  config.initial_capacity = 100000;
  const auto table = MakeTable(config);
  for (const int64_t num_rows : {0, 50000, 100000}) {
    ASSERT_TRUE(Apply(table.get(), {Range(0, num_rows)}).ok());
    const TableStats stats = table->stats();
    EXPECT_GE(stats.pool_bytes, 100000 * (16 + 2 * 16 * 4));
    EXPECT_GE(stats.idle_bytes, 0);
    EXPECT_LT(stats.idle_bytes, stats.pool_bytes);
    const int64_t counted = stats.arena_bytes + stats.index_bytes +
                            stats.counter_bytes + stats.log_bytes +
                            stats.idle_bytes;
    EXPECT_GE(counted, stats.pool_bytes);
    const int64_t own_bytes = table->memory_bytes() - counted;
    EXPECT_GT(own_bytes, 0);
    EXPECT_LE(own_bytes, empty_bytes);
  }
}

TEST(BadGradientTest, ThePrecisionsSlopeIsPartOfTheGradient) {
  TableConfig config = AdamConfig(2);
  config.segments[0].initializer = {"zeros", {}};
  config.segments[0].precision = {"onebit", {0.5f, 1e6f, 2}};
  const auto table = MakeTable(config);
  // The model reads at 999,998, where beta is 500,000.
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Step(table.get(), {7, 8}, {0x1p47f, 1.0f}, 0.1f, 999999).ok());
  }
  EXPECT_EQ(table->stats().num_bad_gradients, 3);
  EXPECT_EQ(table->size(), 1);
  for (const auto& [id, saved] : Export(*table)) {
    for (const float number : saved.floats) EXPECT_TRUE(std::isfinite(number));
  }
}

TEST(BadGradientTest, TheBoundIsLowerByTheSteepestSlopeOfTheStep) {
  TableConfig config = SgdConfig(1);
  config.segments[0].precision = {"onebit", {0.5f, 2, 2}};
  struct Case {
    int64_t global_step;
    float largest;
  };
  // Beta is 1 at the first reading, 2 at the second; then none.
  for (const Case& at :
       {Case{1, 0x1p48f}, Case{2, 0x1p47f}, Case{3, 0x1p48f}}) {
    const auto table = MakeTable(config);
    const float above = std::nextafter(at.largest, 0x1p60f);
    ASSERT_TRUE(Step(table.get(), {7, 8, 9}, {at.largest, above, -above}, 1e-9f,
                     at.global_step)
                    .ok());
    EXPECT_EQ(table->stats().num_bad_gradients, 2) << at.global_step;
    EXPECT_EQ(Export(*table).count(7), 1u) << at.global_step;
    EXPECT_EQ(table->size(), 1) << at.global_step;
  }
}

TEST(BadGradientTest, AnIdWithABadGradientIsLeftAsItIs) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kTooLarge = 281474976710656.0f * 1.0000002f;
  for (const float bad : {kNan, -kNan, kInf, -kInf, kTooLarge, -kTooLarge,
                          std::numeric_limits<float>::max()}) {
    for (const int64_t dim : {1, 3, 16, 37}) {
      for (const int64_t place : {int64_t{0}, dim / 2, dim - 1}) {
        const auto table = MakeTable(AdagradConfig(dim));
        ASSERT_TRUE(Apply(table.get(), {{1, 2}}).ok());
        const auto before = Export(*table);
        // 2 is there, 3 is new; 1 and 4 are stepped all the same.
        const std::vector<int64_t> ids = {1, 2, 3, 4};
        const std::vector<int64_t> counts(4, 1);
        std::vector<float> gradients(4 * dim, 1.0f);
        gradients[dim + place] = bad;
        gradients[2 * dim + place] = bad;
        const float rate = 1.0f;
        ASSERT_TRUE(table
                        ->Apply({ids.data(), counts.data(), gradients.data(), 4,
                                 2, 77, &rate})
                        .ok());
        const auto after = Export(*table);
        EXPECT_EQ(after.size(), 3u);
        EXPECT_NE(after.at(1).floats, before.at(1).floats);
        EXPECT_EQ(after.at(2).floats, before.at(2).floats);
        EXPECT_EQ(after.at(2).stamp, 0);
        EXPECT_EQ(after.count(3), 0u);
        EXPECT_EQ(after.count(4), 1u);
        EXPECT_EQ(table->stats().num_bad_gradients, 2);
        EXPECT_EQ(table->stats().num_admitted, 3);
      }
    }
  }
}

TEST(BadGradientTest, TheLargestGradientIsTaken) {
  const auto table = MakeTable(AdagradConfig(16));
  ASSERT_TRUE(Apply(table.get(), {{1}, 281474976710656.0f}).ok());
  ASSERT_TRUE(Apply(table.get(), {{1}, -281474976710656.0f}).ok());
  EXPECT_EQ(table->stats().num_bad_gradients, 0);
  const SavedRow row = Export(*table)[1];
  for (const float number : row.floats) {
    EXPECT_TRUE(std::abs(number) < 1e30f) << number;
  }
}

TEST(BadGradientTest, ABadGradientIsNoOccurrence) {
  TableConfig config = SgdConfig(2);
  config.admission.kind = "count";
  config.admission.min_count = 2;
  const auto table = MakeTable(config);
  ASSERT_TRUE(
      Apply(table.get(), {{1}, std::numeric_limits<float>::infinity()}).ok());
  EXPECT_EQ(table->stats().num_counted, 0);
  EXPECT_EQ(table->stats().num_rejected, 0);
  ASSERT_TRUE(Apply(table.get(), {{1}}).ok());
  EXPECT_EQ(table->size(), 0);
  EXPECT_EQ(table->stats().num_counted, 1);
}

TEST(BadGradientTest, ABadRateIsRefused) {
  const auto table = MakeTable(SgdConfig(2));
  ExpectError(
      Apply(table.get(), {{1}, 1, std::numeric_limits<float>::quiet_NaN()}),
      absl::StatusCode::kInvalidArgument,
      {"learning_rate must be finite", "for segment 0"});
}

}  // namespace
}  // namespace monolith_tf
