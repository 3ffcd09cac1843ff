// Snapshots of one table against an oracle, with updates running meanwhile.

#include "ops/cc/table/row_snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tests/cc/test_support.h"
#include "tests/cc/workers.h"

namespace monolith_tf {
namespace {

constexpr int64_t kNumIds = 4000;

// What a walk read. Fails if an id came twice.
struct Read {
  std::map<int64_t, SavedRow> rows;
  std::set<int64_t> removed;

  RowSnapshot::RowSink RowSinkOf(int64_t width) {
    return [this, width](int64_t n, const int64_t* ids, const int64_t* stamps,
                         const float* floats) {
      for (int64_t i = 0; i < n; ++i) {
        const float* const row = floats + i * width;
        const bool is_new =
            rows.insert({ids[i], {{row, row + width}, stamps[i]}}).second;
        EXPECT_TRUE(is_new) << "id " << ids[i] << " came twice";
      }
      return absl::OkStatus();
    };
  }
  RowSnapshot::RemovedSink RemovedSinkOf() {
    return [this](int64_t n, const int64_t* ids) {
      removed.insert(ids, ids + n);
      return absl::OkStatus();
    };
  }
};

void ExpectEqual(const std::map<int64_t, SavedRow>& found,
                 const std::map<int64_t, SavedRow>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [id, row] : expected) {
    const auto position = found.find(id);
    ASSERT_NE(position, found.end()) << "id " << id << " is missing";
    EXPECT_EQ(position->second.floats, row.floats) << "id " << id;
    EXPECT_EQ(position->second.stamp, row.stamp) << "id " << id;
  }
}

void ChangeAtRandom(Table* table, std::mt19937_64* random) {
  std::vector<int64_t> ids;
  for (int i = 0; i < 40; ++i) ids.push_back((*random)() % kNumIds);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if ((*random)() % 4 == 0) {
    table->Remove(ids.data(), ids.size());
  } else {
    Update update;
    update.ids = ids;
    update.event_time = 100 + (*random)() % 50;
    EXPECT_TRUE(Apply(table, update).ok());
  }
}

class RowSnapshotTest : public ::testing::TestWithParam<std::string> {
 protected:
  RowSnapshotTest() {
    TableConfig config = AdagradConfig(3);
    config.tracks_changes = GetParam() != "without cuts";
    table_ = MakeTable(config);
    std::mt19937_64 random(7);
    for (int i = 0; i < 300; ++i) ChangeAtRandom(table_.get(), &random);
  }

  std::unique_ptr<Table> table_;
  std::atomic<int64_t> copied_{0};
};

TEST_P(RowSnapshotTest, HoldsTheRowsOfTheMomentWhateverHappensLater) {
  const std::map<int64_t, SavedRow> expected = Export(*table_);
  auto snapshot = table_->NewSnapshot(&copied_);
  std::vector<int64_t> touched;
  snapshot->Start(1, &touched);
  Read read;
  std::mt19937_64 random(8);
  for (int s = 0; s < Table::kNumStripes; ++s) {
    for (int i = 0; i < 5; ++i) ChangeAtRandom(table_.get(), &random);
    if (s % 16 == 3) {
      const auto none = [](int) { return nullptr; };
      ASSERT_TRUE(snapshot->Drain(none, read.RowSinkOf(6)).ok());
    }
    ASSERT_TRUE(snapshot->WalkStripe(s, read.RowSinkOf(6)).ok());
  }
  ExpectEqual(read.rows, expected);
  snapshot = nullptr;
  EXPECT_EQ(copied_, 0);
}

TEST_P(RowSnapshotTest, HoldsTheRowsOfTheMomentBesideThreadsOfUpdates) {
  const std::map<int64_t, SavedRow> expected = Export(*table_);
  auto snapshot = table_->NewSnapshot(&copied_);
  std::vector<int64_t> touched;
  snapshot->Start(1, &touched);
  Read reads[2];
  std::atomic<int> next{0};
  std::vector<Worker> workers;
  for (int w = 0; w < 2; ++w) {
    workers.push_back({[this](std::mt19937_64* random) {
                         ChangeAtRandom(table_.get(), random);
                       },
                       /*goes_on=*/true});
  }
  for (Read& read : reads) {
    workers.push_back({[&](std::mt19937_64*) {
                         for (int s; (s = next++) < Table::kNumStripes;) {
                           EXPECT_TRUE(
                               snapshot->WalkStripe(s, read.RowSinkOf(6)).ok());
                         }
                       },
                       /*goes_on=*/false});
  }
  Read drained;
  workers.push_back({[&](std::mt19937_64*) {
                       const auto none = [](int) { return nullptr; };
                       EXPECT_TRUE(
                           snapshot->Drain(none, drained.RowSinkOf(6)).ok());
                     },
                     /*goes_on=*/true});
  RunTogether(workers);
  std::map<int64_t, SavedRow> found = reads[0].rows;
  found.insert(reads[1].rows.begin(), reads[1].rows.end());
  found.insert(drained.rows.begin(), drained.rows.end());
  EXPECT_EQ(found.size(),
            reads[0].rows.size() + reads[1].rows.size() + drained.rows.size());
  ExpectEqual(found, expected);
}

TEST_P(RowSnapshotTest, LettingGoOfItLeavesTheTableAsItIs) {
  {
    auto snapshot = table_->NewSnapshot(&copied_);
    std::vector<int64_t> touched;
    snapshot->Start(1, &touched);
    std::mt19937_64 random(9);
    for (int i = 0; i < 20; ++i) ChangeAtRandom(table_.get(), &random);
    EXPECT_GT(copied_, 0);
  }
  EXPECT_EQ(copied_, 0);
  std::mt19937_64 random(10);
  for (int i = 0; i < 20; ++i) ChangeAtRandom(table_.get(), &random);
  EXPECT_EQ(copied_, 0);
}

TEST_P(RowSnapshotTest, AClearMeanwhileAbortsIt) {
  auto snapshot = table_->NewSnapshot(&copied_);
  std::vector<int64_t> touched;
  snapshot->Start(1, &touched);
  table_->Clear();
  Read read;
  ExpectError(snapshot->WalkStripe(0, read.RowSinkOf(6)),
              absl::StatusCode::kAborted, {"cleared or restored"});
}

TEST_P(RowSnapshotTest, AnErrorOfTheSinkEndsTheWalk) {
  auto snapshot = table_->NewSnapshot(&copied_);
  std::vector<int64_t> touched;
  snapshot->Start(1, &touched);
  const auto full = [](int64_t, const int64_t*, const int64_t*, const float*) {
    return absl::ResourceExhaustedError("The disk is full.");
  };
  ExpectError(snapshot->WalkStripe(0, full),
              absl::StatusCode::kResourceExhausted, {"disk is full"});
}

INSTANTIATE_TEST_SUITE_P(Tables, RowSnapshotTest,
                         ::testing::Values("with cuts", "without cuts"));

TEST(RowSnapshotChangesTest, ReadsTheStateOfWhatChangedAtTheMoment) {
  std::unique_ptr<Table> table = MakeTable(AdagradConfig(3));
  std::atomic<int64_t> copied{0};
  std::mt19937_64 random(11);
  for (int i = 0; i < 300; ++i) ChangeAtRandom(table.get(), &random);
  std::map<int64_t, SavedRow> replica = Export(*table);
  std::vector<int64_t> touched;
  table->NewSnapshot(&copied)->Start(1, &touched);
  for (int64_t mark = 2; mark < 12; ++mark) {
    for (int i = 0; i < 10; ++i) ChangeAtRandom(table.get(), &random);
    const std::map<int64_t, SavedRow> expected = Export(*table);
    auto snapshot = table->NewSnapshot(&copied);
    // Changes since the moment before, of which some came between the walks.
    snapshot->Start(mark, &touched);
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    std::vector<std::vector<int64_t>> changed(Table::kNumStripes);
    for (const int64_t id : touched) {
      changed[snapshot->StripeOf(id)].push_back(id);
    }
    touched.clear();
    Read read;
    for (int s = 0; s < Table::kNumStripes; ++s) {
      if (s % 8 == 0) ChangeAtRandom(table.get(), &random);
      if (s % 16 == 5) {
        const auto of = [&](int stripe) { return &changed[stripe]; };
        ASSERT_TRUE(snapshot->Drain(of, read.RowSinkOf(6)).ok());
      }
      ASSERT_TRUE(snapshot
                      ->WalkChanges(s, changed[s], read.RowSinkOf(6),
                                    read.RemovedSinkOf())
                      .ok());
    }
    for (const int64_t id : read.removed) {
      EXPECT_EQ(read.rows.count(id), 0u);
      replica.erase(id);
    }
    for (const auto& [id, row] : read.rows) replica[id] = row;
    ExpectEqual(replica, expected);
  }
}

}  // namespace
}  // namespace monolith_tf
