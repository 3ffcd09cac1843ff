#include "ops/cc/table/table_set.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

class TableSetTest : public ::testing::Test {
 protected:
  TableSetTest() : tables_("ranker", 1, 3, 77) {
    EXPECT_TRUE(tables_.CreateTable(SgdConfig(1, "movie")).ok());
    EXPECT_TRUE(tables_.CreateTable(SgdConfig(2, "genre")).ok());
    movie_ = *tables_.Find("movie");
    genre_ = *tables_.Find("genre");
  }

  // The delta after `acked_cut`; tables are genre [0] and movie [1].
  ShardDelta Take(int64_t acked_cut) {
    auto delta = tables_.TakeDelta(acked_cut);
    EXPECT_TRUE(delta.ok()) << delta.status();
    EXPECT_EQ(delta->tables.size(), 2u);
    EXPECT_EQ(delta->tables[0].table, "genre");
    EXPECT_EQ(delta->tables[1].table, "movie");
    return *std::move(delta);
  }

  std::vector<int64_t> MovieIds(int64_t acked_cut) {
    return Take(acked_cut).tables[1].ids;
  }

  TableSet tables_;
  std::shared_ptr<Table> movie_;
  std::shared_ptr<Table> genre_;
};

using Ids = std::vector<int64_t>;
using Names = std::vector<std::string>;

TEST_F(TableSetTest, CreatingATableAgainKeepsItsRows) {
  ASSERT_TRUE(Step(movie_.get(), {1}, {1.0f}, 1.0f).ok());
  EXPECT_TRUE(tables_.CreateTable(SgdConfig(1, "movie")).ok());
  EXPECT_EQ((*tables_.Find("movie"))->size(), 1);
}

TEST_F(TableSetTest, AnotherConfigUnderTheSameNameIsRefusedWithBoth) {
  ExpectError(tables_.CreateTable(SgdConfig(8, "movie")),
              absl::StatusCode::kInvalidArgument,
              {"'ranker'", "'movie'", "dim: 1", "dim: 8"});
}

TEST_F(TableSetTest, AnUnknownTableIsNotFoundAndTheOthersAreListed) {
  ExpectError(tables_.Find("user").status(), absl::StatusCode::kNotFound,
              {"no table 'user'", "shard 1 of 3", "[genre, movie]"});
  ExpectError(tables_.DropTable("user"), absl::StatusCode::kNotFound,
              {"no table 'user'"});
}

TEST_F(TableSetTest, ADroppedTableLivesAsLongAsItsReaders) {
  ASSERT_TRUE(Step(movie_.get(), {1}, {1.0f}, 1.0f).ok());
  ASSERT_TRUE(tables_.DropTable("movie").ok());
  EXPECT_FALSE(tables_.Find("movie").ok());
  EXPECT_EQ(Rows(*movie_, {1}), std::vector<float>{-1.0f});
  EXPECT_EQ(tables_.TableNames(), std::vector<std::string>{"genre"});
}

TEST_F(TableSetTest, DeltasMustBeStarted) {
  ExpectError(tables_.TakeDelta(0).status(),
              absl::StatusCode::kFailedPrecondition, {"were not started"});
}

TEST_F(TableSetTest, ADeltaHoldsFinalRowsAndTombstonesSortedById) {
  ASSERT_TRUE(Step(movie_.get(), {1, 2, 3}, {1, 1, 1}, 1.0f).ok());
  EXPECT_EQ(*tables_.StartDeltas(), 0);
  ASSERT_TRUE(Step(movie_.get(), {3, 9, -4}, {1, 1, 1}, 1.0f).ok());
  ASSERT_TRUE(Step(movie_.get(), {9}, {1}, 1.0f).ok());
  ASSERT_TRUE(Step(genre_.get(), {5}, {2}, 1.0f).ok());
  const int64_t removed[] = {1, 100};
  movie_->Remove(removed, 2);
  const ShardDelta delta = Take(0);
  EXPECT_EQ(delta.generation, 77);
  EXPECT_EQ(delta.from_cut, 0);
  EXPECT_EQ(delta.to_cut, 1);
  EXPECT_EQ(delta.tables[1].ids, (Ids{-4, 1, 3, 9}));
  EXPECT_EQ(delta.tables[1].exists, (std::vector<uint8_t>{1, 0, 1, 1}));
  EXPECT_EQ(delta.tables[1].rows, (std::vector<float>{-1, -2, -2}));
  EXPECT_EQ(delta.tables[1].dim, 1);
  EXPECT_EQ(delta.tables[0].ids, Ids{5});
  EXPECT_EQ(delta.tables[0].rows, (std::vector<float>{-2, -2}));
  EXPECT_EQ(tables_.cut(), 1);
}

TEST_F(TableSetTest, AcknowledgedChangesDoNotComeAgainAndOthersDo) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  ASSERT_TRUE(Step(movie_.get(), {1, 2}, {1, 1}, 1.0f).ok());
  EXPECT_EQ(MovieIds(0), (Ids{1, 2}));
  ASSERT_TRUE(Step(movie_.get(), {2, 3}, {1, 1}, 1.0f).ok());
  // The first reply was lost.
  EXPECT_EQ(MovieIds(0), (Ids{1, 2, 3}));
  // The first was not lost after all: 1 changed up to cut 1 only.
  EXPECT_EQ(MovieIds(1), (Ids{2, 3}));
  EXPECT_EQ(MovieIds(2), Ids{});
  ASSERT_TRUE(Step(movie_.get(), {1}, {1}, 1.0f).ok());
  EXPECT_EQ(MovieIds(4), Ids{1});
}

TEST_F(TableSetTest, ALostTombstoneComesAgain) {
  ASSERT_TRUE(Step(movie_.get(), {1}, {1}, 1.0f).ok());
  ASSERT_TRUE(tables_.StartDeltas().ok());
  const int64_t id = 1;
  movie_->Remove(&id, 1);
  EXPECT_EQ(Take(0).tables[1].exists, std::vector<uint8_t>{0});
  EXPECT_EQ(Take(0).tables[1].exists, std::vector<uint8_t>{0});
  ASSERT_TRUE(Step(movie_.get(), {1}, {1}, 1.0f).ok());
  EXPECT_EQ(Take(2).tables[1].exists, std::vector<uint8_t>{1});
}

TEST_F(TableSetTest, CutsThatWereNotTakenOrAreForgottenAskForAResync) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  for (const int64_t cut : {int64_t{1}, int64_t{1} << 20, int64_t{1} << 24,
                            int64_t{1} << 31, INT64_MAX}) {
    ExpectError(tables_.TakeDelta(cut).status(), absl::StatusCode::kOutOfRange,
                {"at most the last cut of shard",
                 ", 0. Received: ", std::to_string(cut), "Resync"});
  }
  ExpectError(tables_.TakeDelta(-1).status(),
              absl::StatusCode::kInvalidArgument,
              {"acked_cut must not be negative", "Received: -1"});
  ExpectError(tables_.TakeDelta(INT64_MIN).status(),
              absl::StatusCode::kInvalidArgument, {"Received: -9223372036"});
  // A refused cut moves nothing.
  EXPECT_EQ(tables_.cut(), 0);
  Take(0);
  Take(1);
  ExpectError(tables_.TakeDelta(0).status(), absl::StatusCode::kOutOfRange,
              {"after cut 1", "Received: acked_cut 0", "Resync"});
}

TEST_F(TableSetTest, SetsWithEqualTablesHaveTheSameTables) {
  TableSet other("other", 1, 3, 78);
  EXPECT_FALSE(tables_.HasTablesOf(other));
  EXPECT_TRUE(other.CreateTable(SgdConfig(1, "movie")).ok());
  EXPECT_FALSE(tables_.HasTablesOf(other));
  EXPECT_TRUE(other.CreateTable(SgdConfig(2, "genre")).ok());
  EXPECT_TRUE(tables_.HasTablesOf(other));
  EXPECT_TRUE(other.DropTable("genre").ok());
  EXPECT_TRUE(other.CreateTable(SgdConfig(3, "genre")).ok());
  EXPECT_FALSE(tables_.HasTablesOf(other));
}

TEST_F(TableSetTest, WaitingForUsesWaitsForTheOneThatRuns) {
  std::atomic<bool> is_done{false};
  ASSERT_TRUE(tables_.gate().Enter());
  std::thread user([&] {
    // Once the waiting thread has closed the gate.
    while (!tables_.gate().is_closed()) std::this_thread::yield();
    is_done = true;
    tables_.gate().Leave();
  });
  EXPECT_TRUE(tables_.WaitForUses().ok());
  EXPECT_TRUE(is_done);
  user.join();
  EXPECT_TRUE(tables_.gate().Enter());
  tables_.gate().Leave();
}

TEST_F(TableSetTest, NobodyWaitsForUsesOfTablesThatAreBeingRestored) {
  tables_.BeginRestore({"movie"});
  ExpectError(tables_.WaitForUses(), absl::StatusCode::kAborted,
              {"is being restored"});
  EXPECT_TRUE(tables_.gate().is_closed());
}

TEST(TableSetCutTest, CutsCountToTheLastThatARowCanHold) {
  for (const int64_t first :
       {int64_t{1} << 20, int64_t{1} << 24, kMaxCut - 4}) {
    TableSet tables("model", 0, 1, 77, first);
    ASSERT_TRUE(tables.CreateTable(SgdConfig(1, "movie")).ok());
    const auto movie = *tables.Find("movie");
    ASSERT_EQ(*tables.StartDeltas(), first);
    for (int64_t cut = first; cut < first + 3; ++cut) {
      ASSERT_TRUE(Step(movie.get(), {1}, {1}, 1.0f).ok());
      const auto delta = tables.TakeDelta(cut);
      ASSERT_TRUE(delta.ok()) << delta.status();
      EXPECT_EQ(delta->to_cut, cut + 1);
      EXPECT_EQ(delta->tables[0].ids, Ids{1});
    }
  }
}

TEST(TableSetCutTest, AfterTheLastCutNoneIsTakenAndRestoresDoNotCount) {
  TableSet tables("model", 0, 1, 77, kMaxCut - 1);
  ASSERT_TRUE(tables.StartDeltas().ok());
  for (int64_t generation = 78; generation < 81; ++generation) {
    ExpectError(tables.TakeDelta(kMaxCut - 1).status(),
                absl::StatusCode::kResourceExhausted,
                {"no cut is left after", "Restart the server of shard 0"});
    ASSERT_TRUE(tables.Renew(generation).ok());
    EXPECT_EQ(tables.cut(), kMaxCut - 1);
  }
}

TEST_F(TableSetTest, StartingDeltasAgainChangesNothing) {
  EXPECT_EQ(*tables_.StartDeltas(), 0);
  ASSERT_TRUE(Step(movie_.get(), {1}, {1}, 1.0f).ok());
  EXPECT_EQ(*tables_.StartDeltas(), 0);
  EXPECT_EQ(MovieIds(0), Ids{1});
  EXPECT_EQ(*tables_.StartDeltas(), 1);
}

TEST_F(TableSetTest, ATableMadeAfterTheStartIsInTheDelta) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  ASSERT_TRUE(tables_.CreateTable(SgdConfig(1, "user")).ok());
  ASSERT_TRUE(Step(tables_.Find("user")->get(), {8}, {1}, 1.0f).ok());
  auto delta = tables_.TakeDelta(0);
  ASSERT_TRUE(delta.ok());
  ASSERT_EQ(delta->tables.size(), 3u);
  EXPECT_EQ(delta->tables[2].ids, Ids{8});
}

TEST_F(TableSetTest, RenewDropsLogsAndLogsTheNextChangeOfTheSameRow) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  ASSERT_TRUE(Step(movie_.get(), {1, 2}, {1, 1}, 1.0f).ok());
  Take(0);
  ASSERT_TRUE(Step(movie_.get(), {2}, {1}, 1.0f).ok());
  ASSERT_TRUE(tables_.Renew(78).ok());
  EXPECT_EQ(tables_.generation(), 78);
  const int64_t cut = tables_.cut();
  ExpectError(tables_.TakeDelta(1).status(), absl::StatusCode::kOutOfRange,
              {"Resync"});
  // Row 2 is stamped with the cut whose log was dropped.
  ASSERT_TRUE(Step(movie_.get(), {2}, {1}, 1.0f).ok());
  const ShardDelta delta = Take(cut);
  EXPECT_EQ(delta.generation, 78);
  EXPECT_EQ(delta.tables[1].ids, Ids{2});
}

TEST_F(TableSetTest, DeltasThatStartAfterARestoreHoldTheFirstChanges) {
  ASSERT_TRUE(Step(movie_.get(), {1}, {1}, 1.0f).ok());
  ASSERT_TRUE(tables_.Renew(78).ok());
  ASSERT_TRUE(Step(movie_.get(), {1, 2}, {1, 1}, 1.0f).ok());
  const int64_t cut = *tables_.StartDeltas();
  ASSERT_TRUE(Step(movie_.get(), {1, 2}, {1, 1}, 1.0f).ok());
  EXPECT_EQ(MovieIds(cut), (Ids{1, 2}));
}

TEST_F(TableSetTest, StoppedDeltasLogNothingAndStartAnew) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  ASSERT_TRUE(Step(movie_.get(), {1}, {1}, 1.0f).ok());
  tables_.StopDeltas();
  ASSERT_TRUE(Step(movie_.get(), {2}, {1}, 1.0f).ok());
  EXPECT_FALSE(tables_.TakeDelta(0).ok());
  const int64_t cut = *tables_.StartDeltas();
  // 1 was logged before, 2 changed while nothing was.
  ASSERT_TRUE(Step(movie_.get(), {1, 2}, {1, 1}, 1.0f).ok());
  EXPECT_EQ(MovieIds(cut), (Ids{1, 2}));
}

TEST_F(TableSetTest, ClearIsADeltaOfTombstones) {
  ASSERT_TRUE(Step(movie_.get(), {1, 2, 3}, {1, 1, 1}, 1.0f).ok());
  ASSERT_TRUE(tables_.StartDeltas().ok());
  movie_->Clear();
  ASSERT_TRUE(Step(movie_.get(), {2}, {4}, 1.0f).ok());
  const ShardDelta delta = Take(0);
  EXPECT_EQ(delta.tables[1].ids, (Ids{1, 2, 3}));
  EXPECT_EQ(delta.tables[1].exists, (std::vector<uint8_t>{0, 1, 0}));
  EXPECT_EQ(delta.tables[1].rows, std::vector<float>{-4.0f});
}

TEST_F(TableSetTest, AssignAndImportAreInTheDelta) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  const int64_t ids[] = {1, 2};
  const int64_t times[] = {0, 0};
  const float rows[] = {5.0f, 6.0f};
  ASSERT_TRUE(movie_->Assign(ids, rows, 1, 0).ok());
  ASSERT_TRUE(movie_->Import(ids + 1, times, rows + 1, 1).ok());
  const ShardDelta delta = Take(0);
  EXPECT_EQ(delta.tables[1].ids, (Ids{1, 2}));
  EXPECT_EQ(delta.tables[1].rows, (std::vector<float>{5.0f, 6.0f}));
}

TEST_F(TableSetTest, ALogAboveItsLimitIsDroppedAndCounted) {
  constexpr int64_t kLimit = 1 << 20;
  const int64_t start = *tables_.StartDeltas(kLimit);
  const std::vector<float> rows(20000);
  // Ids that come and go: the table does not grow, its log does.
  for (int64_t first = 0; first < 2000000; first += rows.size()) {
    const std::vector<int64_t> ids = Range(first, rows.size());
    ASSERT_TRUE(movie_->Assign(ids.data(), rows.data(), ids.size(), 5).ok());
    movie_->Remove(ids.data(), ids.size());
    tables_.LimitLogs();
    EXPECT_LE(movie_->stats().log_bytes, kLimit + (1 << 19));
  }
  EXPECT_GE(movie_->stats().num_dropped_logs, 10);
  ExpectError(tables_.TakeDelta(start).status(), absl::StatusCode::kOutOfRange,
              {"Resync from an export", "max_log_bytes = 1048576"});
  // A consumer that starts again gets what changes from then on.
  const int64_t cut = Take(tables_.cut()).to_cut;
  ASSERT_TRUE(Step(movie_.get(), {7}, {1.0f}, 1.0f).ok());
  EXPECT_EQ(MovieIds(cut), Ids{7});
}

TEST_F(TableSetTest, IdsThatNobodyAcknowledgesCountToo) {
  constexpr int64_t kLimit = 1 << 20;
  const int64_t start = *tables_.StartDeltas(kLimit);
  const std::vector<int64_t> ids = Range(0, 100000);
  const std::vector<float> rows(ids.size());
  ASSERT_TRUE(movie_->Assign(ids.data(), rows.data(), ids.size(), 5).ok());
  const ShardDelta delta = Take(start);
  EXPECT_EQ(delta.tables[1].ids.size(), ids.size());
  EXPECT_EQ(movie_->stats().log_bytes, 0);
  tables_.LimitLogs();
  EXPECT_EQ(movie_->stats().num_dropped_logs, 1);
  ExpectError(tables_.TakeDelta(delta.to_cut).status(),
              absl::StatusCode::kOutOfRange, {"Resync"});
}

TEST_F(TableSetTest, ALogWithinItsLimitIsKept) {
  const int64_t start = *tables_.StartDeltas();
  ASSERT_TRUE(Step(movie_.get(), {1}, {1.0f}, 1.0f).ok());
  tables_.LimitLogs();
  EXPECT_EQ(MovieIds(start), Ids{1});
  EXPECT_EQ(movie_->stats().num_dropped_logs, 0);
}

TEST_F(TableSetTest, WhileItIsRestoredASetHasNoGenerationAndNoDeltas) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  tables_.BeginRestore({"movie"});
  EXPECT_EQ(tables_.generation(), 0);
  EXPECT_TRUE(tables_.gate().is_closed());
  for (const absl::Status& status :
       {tables_.TakeDelta(0).status(), tables_.StartDeltas().status(),
        tables_.Renew(78)}) {
    ExpectError(status, absl::StatusCode::kAborted,
                {"'ranker'", "is being restored on shard 1 of 3"});
  }
  ExpectError(tables_.BeingRestored("ps 1"), absl::StatusCode::kAborted,
              {"server ps 1", "try again"});
  EXPECT_TRUE(tables_.EndRestore({"movie"}, 78)->empty());
  EXPECT_EQ(tables_.generation(), 78);
  EXPECT_FALSE(tables_.gate().is_closed());
}

TEST_F(TableSetTest, ARestoreEndsWithItsLastTable) {
  tables_.BeginRestore({"movie", "genre"});
  tables_.BeginRestore({"genre"});
  EXPECT_EQ(*tables_.EndRestore({"movie"}, 78), Names({"genre"}));
  EXPECT_EQ(tables_.generation(), 0);
  EXPECT_TRUE(tables_.EndRestore({"genre"}, 79)->empty());
  EXPECT_EQ(tables_.generation(), 79);
}

TEST_F(TableSetTest, ATableThatIsDroppedNeedsNoRestore) {
  tables_.BeginRestore({"movie", "genre"});
  ASSERT_TRUE(tables_.DropTable("genre").ok());
  EXPECT_TRUE(tables_.EndRestore({"movie"}, 78)->empty());
}

TEST_F(TableSetTest, ARestoreThatDidNotBeginDoesNotEnd) {
  ExpectError(tables_.EndRestore({"movie"}, 78).status(),
              absl::StatusCode::kFailedPrecondition,
              {"'ranker'", "must have begun on shard 1 of 3", "[movie]"});
  EXPECT_EQ(tables_.generation(), 77);
}

TEST_F(TableSetTest, ARestoreLogsNothingAndTheChangesAfterItAreLogged) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  ASSERT_TRUE(Step(movie_.get(), {1}, {1.0f}, 1.0f).ok());
  const int64_t log_bytes = movie_->stats().log_bytes;
  tables_.BeginRestore({"movie"});
  movie_->Clear();
  const std::vector<float> rows(1000);
  ASSERT_TRUE(movie_->Assign(Range(0, 1000).data(), rows.data(), 1000, 5).ok());
  // A table that is made meanwhile tracks its changes, too.
  ASSERT_TRUE(tables_.CreateTable(SgdConfig(1, "user")).ok());
  EXPECT_LE(movie_->stats().log_bytes, log_bytes);
  ASSERT_TRUE(tables_.EndRestore({"movie"}, 78).ok());
  const int64_t cut = tables_.cut();
  ASSERT_TRUE(Step(movie_.get(), {2}, {1.0f}, 1.0f).ok());
  const std::shared_ptr<Table> user = *tables_.Find("user");
  ASSERT_TRUE(Step(user.get(), {3}, {1.0f}, 1.0f).ok());
  const auto delta = tables_.TakeDelta(cut);
  ASSERT_TRUE(delta.ok());
  EXPECT_EQ(delta->generation, 78);
  EXPECT_EQ(delta->tables[1].ids, Ids{2});
  EXPECT_EQ(delta->tables[2].ids, Ids{3});
  ExpectError(tables_.TakeDelta(cut - 1).status(),
              absl::StatusCode::kOutOfRange, {"Resync"});
}

TEST_F(TableSetTest, AnAbandonedRestoreLeavesEmptyTables) {
  ASSERT_TRUE(Step(movie_.get(), {1}, {1.0f}, 1.0f).ok());
  ASSERT_TRUE(Step(genre_.get(), {1}, {1.0f, 1.0f}, 1.0f).ok());
  tables_.AbandonRestore(78);
  EXPECT_EQ(tables_.generation(), 78);
  EXPECT_EQ(movie_->size(), 1);
  tables_.BeginRestore({"movie"});
  tables_.AbandonRestore(79);
  EXPECT_EQ(tables_.generation(), 79);
  EXPECT_EQ(movie_->size() + genre_->size(), 0);
  EXPECT_FALSE(tables_.gate().is_closed());
}

TEST_F(TableSetTest, MemoryCountsTheTables) {
  EXPECT_GE(tables_.memory_bytes(),
            movie_->memory_bytes() + genre_->memory_bytes());
}

}  // namespace
}  // namespace monolith_tf
