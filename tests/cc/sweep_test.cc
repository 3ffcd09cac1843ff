// Updates sweep a little each.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "ops/cc/config/table_config.h"
#include "ops/cc/table/table.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

TableConfig Config(int64_t ttl_seconds) {
  TableConfig config = SgdConfig(2);
  config.eviction.ttl_seconds = ttl_seconds;
  return config;
}

void Occur(Table* table, const std::vector<int64_t>& ids, int64_t time) {
  Update update;
  update.ids = ids;
  update.event_time = time;
  ASSERT_TRUE(Apply(table, update).ok());
}

TEST(SweepTest, UpdatesSweepFewRowsForEachOfTheirIds) {
  const auto table = MakeTable(Config(100));
  Occur(table.get(), Range(0, 20000), 1000);
  // The first batch of a later time lets a bounded number go.
  constexpr int64_t kMost = 1000 * Table::kSweptPerId + Table::kSweptPerUpdate;
  Occur(table.get(), Range(100000, 1000), 5000);
  EXPECT_GT(table->stats().num_expired, 0);
  EXPECT_LE(table->stats().num_expired, kMost);
  EXPECT_GE(table->size(), 21000 - kMost);
  for (int i = 0; i < 200; ++i) Occur(table.get(), Range(100000, 1000), 5000);
  EXPECT_EQ(table->stats().num_expired, 20000);
  EXPECT_EQ(table->size(), 1000);
}

TEST(SweepTest, TheSweepComesAroundWhereEveryIdIsNew) {
  const auto table = MakeTable(Config(100));
  Occur(table.get(), Range(0, 20000), 1000);
  for (int64_t i = 1; i <= 40; ++i) {
    Occur(table.get(), Range(i * 100000, 1000), 5000);
  }
  EXPECT_EQ(table->stats().num_expired, 20000);
  EXPECT_EQ(table->size(), 40000);
}

TEST(SweepTest, UpdatesOfFewIdsOrNoneSweepTheOtherStripesToo) {
  for (const std::vector<int64_t>& ids :
       {std::vector<int64_t>{}, std::vector<int64_t>{-1}}) {
    const auto table = MakeTable(Config(100));
    Occur(table.get(), Range(0, 20000), 1000);
    const auto num_ids = static_cast<int64_t>(ids.size());
    const int64_t most = Table::kSweptPerUpdate + num_ids * Table::kSweptPerId;
    int64_t num_expired = 0;
    // A stripe has 313 rows on average; each comes around ten times.
    for (int i = 0; i < 10 * Table::kNumStripes; ++i) {
      Occur(table.get(), ids, 5000);
      const int64_t now = table->stats().num_expired;
      ASSERT_LE(now - num_expired, most);
      num_expired = now;
    }
    EXPECT_EQ(num_expired, 20000);
    EXPECT_EQ(table->size(), num_ids);
  }
}

TEST(SweepTest, CountersOfQuietStripesGoWithTheirWindow) {
  TableConfig config = Config(0);
  config.admission.kind = "count";
  config.admission.min_count = 3;
  config.admission.window_seconds = 100;
  const auto table = MakeTable(config);
  Occur(table.get(), Range(0, 20000), 1000);
  EXPECT_EQ(table->stats().num_counted, 20000);
  for (int i = 0; i < 10 * Table::kNumStripes; ++i) {
    Occur(table.get(), {}, 5000);
  }
  EXPECT_EQ(table->stats().num_counted, 0);
}

TEST(SweepTest, PartsInAnyOrderLeaveWhatOneApplyLeaves) {
  const auto whole = MakeTable(Config(100));
  const auto parts = MakeTable(Config(100));
  Update update;
  update.ids = Range(0, 20000);
  update.event_time = 1000;
  for (Table* const table : {whole.get(), parts.get()}) {
    ASSERT_TRUE(Apply(table, update).ok());
  }
  for (int i = 1; i <= 100; ++i) {
    update.ids = Range(1000000 + 1000 * i, 640);
    update.event_time = 1100 + i;
    ASSERT_TRUE(Apply(whole.get(), update).ok());
    const std::vector<int64_t> counts(update.ids.size(), 1);
    const std::vector<float> gradients(2 * update.ids.size(), 1.0f);
    const float rate = 1.0f;
    const ApplyRequest request = {update.ids.data(),
                                  counts.data(),
                                  gradients.data(),
                                  static_cast<int64_t>(update.ids.size()),
                                  1,
                                  update.event_time,
                                  &rate};
    const RunningUpdate running = parts->BeginParts(request);
    for (const int part : {1, 2, 0}) {
      ASSERT_TRUE(parts->ApplyPart(request, running, {part, 3}).ok());
    }
    parts->EndUpdate(running);
    ASSERT_EQ(parts->size(), whole->size());
  }
}

}  // namespace
}  // namespace monolith_tf
