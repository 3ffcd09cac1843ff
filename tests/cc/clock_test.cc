// The clock of a table does not believe times from the far future.

#include <gtest/gtest.h>

#include <cstdint>
#include <ctime>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/table/table.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

// A table whose rows live for 1000 s, and that believes times of up to a day
// ahead.
std::unique_ptr<Table> BoundedTable() {
  TableConfig config = SgdConfig(1);
  config.eviction.ttl_seconds = 1000;
  config.eviction.max_future_seconds = 86400;
  return *Table::Create(config);
}

constexpr int64_t kFarFuture = UINT32_MAX;

TEST(ClockTest, AnUpdateFromTheFarFutureCountsAtTheLatestTime) {
  const auto table = BoundedTable();
  const int64_t now = std::time(nullptr);
  Update update;
  update.ids = {1};
  update.event_time = now;
  ASSERT_TRUE(Apply(table.get(), update).ok());
  update.ids = {2};
  update.event_time = kFarFuture;
  ASSERT_TRUE(Apply(table.get(), update).ok());
  EXPECT_EQ(table->clock().event_time, now);
  const float row = 3.0f;
  const int64_t id = 3;
  ASSERT_TRUE(table->Assign(&id, &row, 1, kFarFuture).ok());
  EXPECT_EQ(table->Sweep(kFarFuture), 0);
  EXPECT_EQ(table->clock().event_time, now);
  EXPECT_EQ(table->size(), 3);
  EXPECT_EQ(table->stats().num_future_times, 3);
  EXPECT_EQ(table->Sweep(now + 1001), 3);
}

TEST(ClockTest, TheFirstTimeThatIsNotBelievedIsThatOfTheServer) {
  const auto table = BoundedTable();
  const int64_t before = std::time(nullptr);
  EXPECT_GE(table->AcceptTime(kFarFuture), before);
  EXPECT_LE(table->AcceptTime(kFarFuture), std::time(nullptr));
  EXPECT_EQ(table->stats().num_future_times, 2);
}

TEST(ClockTest, TimesWithinTheLimitOfEitherClockAreBelieved) {
  const auto table = BoundedTable();
  const int64_t now = std::time(nullptr);
  EXPECT_EQ(table->AcceptTime(5), 5);
  EXPECT_EQ(table->AcceptTime(now + 80000), now + 80000);
  // A table may be ahead of its server, for instance one of a replayed log.
  ASSERT_TRUE(table->SetClock({1, now + 80000}).ok());
  EXPECT_EQ(table->AcceptTime(now + 160000), now + 160000);
  EXPECT_EQ(table->AcceptTime(now + 180000), now + 80000);
  EXPECT_EQ(table->stats().num_future_times, 1);
}

TEST(ClockTest, ItIsNotSetToTheFarFuture) {
  const auto table = BoundedTable();
  ExpectError(table->SetClock({1, kFarFuture}),
              absl::StatusCode::kInvalidArgument,
              {"at most 86400 seconds (max_future_seconds) ahead",
               "Received: event_time 4294967295"});
  ExpectError(table->SetClock({-2, 5}), absl::StatusCode::kInvalidArgument,
              {"-1 to keep it", "Received: -2"});
  ASSERT_TRUE(table->SetClock({7, 500}).ok());
  ASSERT_TRUE(table->SetClock({-1, 400}).ok());
  EXPECT_EQ(table->clock().global_step, 7);
  EXPECT_EQ(table->clock().event_time, 400);
}

TEST(ClockTest, ARestoreRepairsAClockFromTheFarFuture) {
  const auto table = BoundedTable();
  const int64_t now = std::time(nullptr);
  EXPECT_FALSE(*table->RestoreClock({7, kFarFuture}));
  const std::vector<int64_t> ids = {1, 2, 3, 4};
  // One has no time, one that of the event that moved the clock.
  const std::vector<int64_t> stamps = {now - 10, 0, kFarFuture, now - 20};
  const std::vector<float> rows(ids.size());
  ASSERT_TRUE(
      table->Import(ids.data(), stamps.data(), rows.data(), ids.size()).ok());
  EXPECT_EQ(table->clock().event_time, now - 10);
  EXPECT_EQ(table->clock().global_step, 7);
  EXPECT_EQ(table->stats().num_future_times, 2);
  EXPECT_EQ(table->Sweep(now + 900), 0);
  EXPECT_EQ(table->Sweep(now + 1001), 4);
}

TEST(ClockTest, ARestoreOfBadTimesAloneTakesTheClockOfTheServer) {
  const auto table = BoundedTable();
  const int64_t now = std::time(nullptr);
  EXPECT_FALSE(*table->RestoreClock({7, kFarFuture}));
  const int64_t id = 1;
  const float row = 1.0f;
  ASSERT_TRUE(table->Import(&id, &kFarFuture, &row, 1).ok());
  EXPECT_EQ(table->Sweep(now + 900), 0);
  EXPECT_TRUE(*table->RestoreClock({7, 500}));
  ExpectError(table->RestoreClock({7, -1}).status(),
              absl::StatusCode::kInvalidArgument, {"event_time"});
}

}  // namespace
}  // namespace monolith_tf
