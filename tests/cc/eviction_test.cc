// Which rows go, and when.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/admission/packed_count.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_set.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

using Floats = std::vector<float>;

// Adagrad from 1.0: a row that starts anew shows in weight and slot.
TableConfig Config(const EvictionConfig& eviction) {
  TableConfig config = TableConfig::OfOneSegment(
      "movie", 2, {"adagrad", {0.25f, 0.0f}, {}}, {"constant", {1.0f}}, 0);
  config.eviction = eviction;
  return config;
}

EvictionConfig Ttl(int64_t seconds) {
  EvictionConfig eviction;
  eviction.ttl_seconds = seconds;
  return eviction;
}

EvictionConfig Cap(int64_t max_rows, const std::string& policy) {
  EvictionConfig eviction;
  eviction.max_rows = max_rows;
  eviction.policy = policy;
  return eviction;
}

void Occur(Table* table, const std::vector<int64_t>& ids, int64_t time,
           float gradient = 1.0f) {
  Update update;
  update.ids = ids;
  update.gradient = gradient;
  update.event_time = time;
  ASSERT_TRUE(Apply(table, update).ok());
}

std::vector<int64_t> Ids(const Table& table) {
  std::vector<int64_t> ids;
  for (const auto& [id, row] : Export(table)) ids.push_back(id);
  return ids;
}

TEST(ExpiryTest, ARowIsKeptForTheTtlAfterItsLastUpdate) {
  const auto table = MakeTable(Config(Ttl(100)));
  Occur(table.get(), {1}, 1000);
  EXPECT_EQ(table->Sweep(1100), 0);
  Occur(table.get(), {1}, 1100);
  EXPECT_EQ(table->Sweep(1200), 0);
  EXPECT_EQ(table->Sweep(1201), 1);
  EXPECT_EQ(table->size(), 0);
  EXPECT_EQ(table->stats().num_expired, 1);
}

TEST(ExpiryTest, AnIdMayBringAShorterTtlOfItsOwn) {
  const auto table = MakeTable(Config(Ttl(100)));
  const auto occur = [&](int64_t id, int64_t time, int64_t ttl) {
    Update update;
    update.ids = {id};
    update.event_time = time;
    update.counts = {PackCount(1, PackOverrides(/*min_count=*/0, ttl))};
    ASSERT_TRUE(Apply(table.get(), update).ok());
  };
  occur(1, 1000, 10);
  occur(2, 1000, 0);
  occur(3, 1000, 10);
  // The last of its ttls holds, whichever came first.
  occur(3, 1000, 50);
  occur(3, 1001, 1);
  EXPECT_EQ(table->Sweep(1010), 0);
  EXPECT_EQ(table->Sweep(1011), 1);
  EXPECT_EQ(Ids(*table), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(table->Sweep(1050), 0);
  EXPECT_EQ(table->Sweep(1051), 1);
  EXPECT_EQ(table->Sweep(1101), 1);
  // For updates it is gone at once; weight 1 and slot 0.25 begin anew.
  occur(4, 2000, 10);
  const auto first = Export(*table);
  occur(4, 2011, 10);
  EXPECT_EQ(Export(*table).at(4).floats, first.at(4).floats);
}

TEST(ExpiryTest, ATtlOfItsOwnHoldsAtTheEndsOfTime) {
  const auto table = MakeTable(Config(Ttl(1000)));
  Update update;
  update.counts = {PackCount(1, PackOverrides(/*min_count=*/0, 1))};
  // Earlier than a time can be said: it lives on, until the table's ttl.
  update.ids = {1};
  update.event_time = 5;
  ASSERT_TRUE(Apply(table.get(), update).ok());
  EXPECT_EQ(table->Sweep(1000), 0);
  EXPECT_EQ(table->Sweep(1001), 1);
  update.event_time = 0xFFFFFFFE;
  ASSERT_TRUE(Apply(table.get(), update).ok());
  EXPECT_EQ(table->Sweep(0xFFFFFFFF), 0);
}

TEST(ExpiryTest, ATtlAboveThatOfTheTableIsRefused) {
  for (const int64_t ttl : {0, 100}) {
    const auto table = MakeTable(Config(Ttl(ttl)));
    Update update;
    update.ids = {1};
    update.counts = {PackCount(1, PackOverrides(/*min_count=*/0, ttl + 1))};
    ExpectError(Apply(table.get(), update), absl::StatusCode::kInvalidArgument,
                {"ttl must be in [1, ", "the ttl of the table", "for id 1"});
    EXPECT_EQ(table->size(), 0);
  }
}

TEST(ClockTest, AnUpdateMovesItForwardAlsoWhereItHasNoIds) {
  auto table = MakeTable(Config(Ttl(100)));
  EXPECT_EQ(table->clock().global_step, 0);
  EXPECT_EQ(table->clock().event_time, 0);
  Occur(table.get(), {1}, 1000);
  Update none;
  none.event_time = 5000;
  none.global_step = 7;
  ASSERT_TRUE(Apply(table.get(), none).ok());
  EXPECT_EQ(table->clock().global_step, 7);
  EXPECT_EQ(table->clock().event_time, 5000);
  Occur(table.get(), {2}, 3000);
  EXPECT_EQ(table->clock().event_time, 5000);
  table->Sweep(0);
  EXPECT_EQ(table->size(), 0);
}

TEST(ClockTest, ARestoreSetsItBackToo) {
  auto table = MakeTable(Config(Ttl(100)));
  Occur(table.get(), {1}, 5000);
  ASSERT_TRUE(table->SetClock({3, 1000}).ok());
  EXPECT_EQ(table->clock().global_step, 3);
  EXPECT_EQ(table->clock().event_time, 1000);
  EXPECT_FALSE(table->SetClock({-2, 1000}).ok());
  EXPECT_FALSE(table->SetClock({1, -1}).ok());
  EXPECT_FALSE(table->SetClock({1, int64_t{1} << 32}).ok());
  EXPECT_EQ(table->clock().event_time, 1000);
}

TEST(ExpiryTest, AnUpdateAfterTheTimeRanOutStartsAnew) {
  const auto table = MakeTable(Config(Ttl(100)));
  // A gradient of 0 leaves a fresh row as it is.
  Occur(table.get(), {1}, 1000, 0.0f);
  const SavedRow fresh = Export(*table)[1];
  EXPECT_EQ(fresh.floats, (Floats{1, 1, 0.25f, 0.25f}));
  Occur(table.get(), {1}, 1050);
  EXPECT_NE(Export(*table)[1].floats, fresh.floats);
  Occur(table.get(), {1}, 1151, 0.0f);
  EXPECT_EQ(Export(*table)[1].floats, fresh.floats);
  EXPECT_EQ(Export(*table)[1].stamp, 1151);
  EXPECT_EQ(table->stats().num_expired, 1);
  EXPECT_EQ(table->stats().num_admitted, 2);
}

TEST(ExpiryTest, ALookupSeesARowUntilTheSweepPasses) {
  const auto table = MakeTable(Config(Ttl(100)));
  Occur(table.get(), {1}, 1000);
  const Floats row = Rows(*table, {1});
  // An update of another id moves the clock on.
  Occur(table.get(), {2}, 5000);
  if (table->size() == 2) {
    EXPECT_EQ(Rows(*table, {1}), row);
  }
  table->Sweep(0);
  EXPECT_EQ(table->stats().num_expired, 1);
  EXPECT_EQ(Ids(*table), std::vector<int64_t>{2});
  EXPECT_EQ(Rows(*table, {1}), (Floats{1, 1}));
}

TEST(ExpiryTest, AnIdThatComesTwiceInTheBatchThatEndsItsRowIsSteppedTwice) {
  // Also among many that expire in the same groups. A row whose event time is
  // itself too old may go with the next sweep.
  for (const int64_t time : {5000, 1100}) {
    const auto table = MakeTable(Config(Ttl(100)));
    const auto expected = MakeTable(Config({}));
    Occur(table.get(), Range(0, 3000), 1000);
    Occur(table.get(), {-1}, 5000);
    std::vector<int64_t> ids;
    for (int64_t id = 2999; id >= 0; --id) {
      ids.push_back(id);
      if (id % 2 == 0) ids.push_back(id);
    }
    Occur(expected.get(), ids, time);
    // One batch of few ids, so that twins are of one group.
    for (size_t begin = 0; begin < ids.size(); begin += 6) {
      const std::vector<int64_t> batch(
          ids.begin() + begin, ids.begin() + std::min(ids.size(), begin + 6));
      Occur(table.get(), batch, time);
      for (const int64_t id : batch) {
        const Floats row = Rows(*table, {id});
        if (time == 5000 || Exists(*table, {id})[0]) {
          ASSERT_EQ(row, Rows(*expected, {id})) << id;
        }
      }
    }
    EXPECT_GE(table->stats().num_expired, 3000);
    if (time == 5000) {
      EXPECT_EQ(table->stats().num_expired, 3000);
    }
  }
}

TEST(ExpiryTest, AnExpiredIdIsCountedAnew) {
  TableConfig config = Config(Ttl(100));
  config.admission.kind = "count";
  config.admission.min_count = 2;
  const auto table = MakeTable(config);
  Occur(table.get(), {1, 1}, 1000);
  EXPECT_EQ(table->size(), 1);
  Occur(table.get(), {1}, 2000);
  EXPECT_EQ(table->size(), 0);
  EXPECT_EQ(table->stats().num_counted, 1);
  Occur(table.get(), {1}, 2000);
  EXPECT_EQ(table->size(), 1);
  EXPECT_EQ(table->stats().num_counted, 0);
}

TEST(ExpiryTest, AnAssignmentAfterTheTimeRanOutStartsWithFreshSlots) {
  const auto table = MakeTable(Config(Ttl(100)));
  Occur(table.get(), {1}, 1000);
  const int64_t id = 1;
  const Floats weights = {5, 6};
  ASSERT_TRUE(table->Assign(&id, weights.data(), 1, 1050).ok());
  EXPECT_EQ(Export(*table)[1].floats, (Floats{5, 6, 1.25f, 1.25f}));
  ASSERT_TRUE(table->Assign(&id, weights.data(), 1, 2000).ok());
  EXPECT_EQ(Export(*table)[1].floats, (Floats{5, 6, 0.25f, 0.25f}));
}

TEST(ExpiryTest, SweepOnDemandLeavesExactlyWhatIsAlive) {
  const auto table = MakeTable(Config(Ttl(500)));
  std::mt19937_64 random(3);
  std::vector<int64_t> alive;
  for (int64_t id = 0; id < 30000; ++id) {
    const int64_t stamp = 1000 + random() % 1000;
    const Floats floats = {1, 2, 3, 4};
    ASSERT_TRUE(table->Import(&id, &stamp, floats.data(), 1).ok());
    if (stamp >= 1500) alive.push_back(id);
  }
  const int64_t num_gone = table->Sweep(2000);
  EXPECT_EQ(table->stats().num_expired,
            30000 - static_cast<int64_t>(alive.size()));
  EXPECT_LE(num_gone, table->stats().num_expired);
  EXPECT_EQ(Ids(*table), alive);
}

TEST(EvictionTest, WhatGoesIsATombstoneInTheNextDelta) {
  EvictionConfig eviction = Cap(100, "lru");
  eviction.ttl_seconds = 100;
  TableSet tables("model", 0, 1, 1);
  ASSERT_TRUE(tables.CreateTable(Config(eviction)).ok());
  const auto table = *tables.Find("movie");
  Occur(table.get(), Range(0, 100), 1000);
  ASSERT_TRUE(tables.StartDeltas().ok());
  const int64_t cut = tables.cut();
  // 0 to 9 go for the cap, 10 to 19 live on, 20 to 99 expire.
  Occur(table.get(), Range(10, 90), 1050);
  Occur(table.get(), Range(200, 10), 1060);
  Occur(table.get(), Range(10, 10), 1100);
  table->Sweep(1161);
  const auto delta = tables.TakeDelta(cut);
  ASSERT_TRUE(delta.ok()) << delta.status();
  const TableDelta& changes = delta->tables[0];
  std::vector<int64_t> gone, here;
  for (size_t i = 0; i < changes.ids.size(); ++i) {
    (changes.exists[i] != 0 ? here : gone).push_back(changes.ids[i]);
  }
  EXPECT_EQ(here, Range(10, 10));
  std::vector<int64_t> expected = Range(0, 10);
  for (const int64_t id : Range(20, 80)) expected.push_back(id);
  for (const int64_t id : Range(200, 10)) expected.push_back(id);
  EXPECT_EQ(gone, expected);
}

TEST(EvictionTest, AnEvictedIdStartsAnew) {
  const auto table = MakeTable(Config(Cap(2, "lru")));
  Occur(table.get(), {1}, 1000);
  Occur(table.get(), {2}, 1001);
  Occur(table.get(), {3}, 1002);
  EXPECT_EQ(Rows(*table, {1}), (Floats{1, 1}));
  Occur(table.get(), {1}, 1003, 0.0f);
  EXPECT_EQ(Export(*table)[1].floats, (Floats{1, 1, 0.25f, 0.25f}));
}

TEST(EvictionTest, ClearForgetsRowsCountersAndSketch) {
  for (const std::string kind : {"count", "sketch"}) {
    TableConfig config = Config({});
    config.admission.kind = kind;
    config.admission.min_count = 2;
    config.admission.sketch_bytes = kind == "sketch" ? 1 << 16 : 0;
    const auto table = MakeTable(config);
    const int64_t empty_bytes = table->memory_bytes();
    Occur(table.get(), {1, 1, 2}, 0);
    EXPECT_EQ(table->size(), 1);
    table->Clear();
    EXPECT_EQ(table->size(), 0);
    EXPECT_EQ(table->stats().num_counted, 0);
    EXPECT_EQ(table->stats().num_removed, 1);
    EXPECT_EQ(table->memory_bytes(), empty_bytes);
    Occur(table.get(), {2}, 0);
    EXPECT_EQ(table->size(), 0);
    Occur(table.get(), {2}, 0);
    EXPECT_EQ(table->size(), 1);
  }
}

}  // namespace
}  // namespace monolith_tf
