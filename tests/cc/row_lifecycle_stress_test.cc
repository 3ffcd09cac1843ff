// Rows that come, expire, are removed, swept and moved while others are read,
// exported and cut: with checks that hold meanwhile and after all have stopped.

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

#include "ops/cc/hash/partition.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_set.h"
#include "tests/cc/test_support.h"
#include "tests/cc/workers.h"

namespace monolith_tf {
namespace {

constexpr int64_t kDim = 24;
constexpr int64_t kNumStaying = 3000;
constexpr int64_t kNumCounted = 1000;
constexpr int64_t kTtl = 1000;
// The clock of the test goes on from here for less than a ttl.
constexpr int64_t kStart = 10000;
constexpr int kNumRounds = 100;

class RowLifecycleStressTest : public ::testing::TestWithParam<std::string> {
 protected:
  RowLifecycleStressTest() : tables_("model", 0, 1, 1) {
    TableConfig config = SgdConfig(kDim);
    config.segments[0].precision.kind = GetParam();
    config.admission.kind = "count";
    config.admission.min_count = 2;
    config.eviction.ttl_seconds = kTtl;
    EXPECT_TRUE(tables_.CreateTable(config).ok());
    table_ = *tables_.Find("movie");
    for (int64_t i = 0; i < kNumStaying; ++i) staying_.push_back(-1 - i);
    // They are admitted at kStart + kTtl / 2 and live through the test.
    Occur(staying_, kStart + kTtl / 2, 2);
    for (int64_t i = 0; i < kNumCounted; ++i) {
      counted_.push_back(int64_t{1} << 60 | i);
    }
    Occur(counted_, kStart, 1);
  }

  // One step of 1 for each; all weights of a row are equal in whatever state.
  void Occur(const std::vector<int64_t>& ids, int64_t time, int64_t count) {
    Update update;
    update.ids = ids;
    update.gradient = -1.0f;
    update.event_time = time;
    update.counts.assign(ids.size(), count);
    ASSERT_TRUE(Apply(table_.get(), update).ok());
  }

  void ExpectWhole(const float* row) {
    for (int64_t j = 1; j < kDim; ++j) {
      if (row[j] != row[0]) {
        ++num_torn_;
        return;
      }
    }
  }

  // Ids come, some of them expire at once, others later.
  void Churn(std::mt19937_64* random, int64_t first) {
    for (int round = 0; round < kNumRounds; ++round) {
      std::vector<int64_t> ids((*random)() % 600);
      for (int64_t& id : ids) id = first + (*random)() % 20000;
      const int64_t clock = kStart + kTtl / 2 + round * kTtl / kNumRounds / 2;
      Occur(ids, clock - (*random)() % (kTtl + kTtl / 4), 1 + round % 2);
      if (round % 8 == 7) table_->Remove(ids.data(), ids.size());
    }
  }

  void RefreshStaying(std::mt19937_64* random) {
    for (int round = 0; round < kNumRounds / 4; ++round) {
      const size_t begin = (*random)() % (kNumStaying / 2);
      Occur({staying_.begin() + begin, staying_.begin() + begin + 1000},
            kStart + kTtl / 2, 1);
      for (size_t i = begin; i < begin + 1000; ++i) ++steps_[i];
    }
  }

  void LookUp(std::mt19937_64* random) {
    std::vector<int64_t> ids(500);
    for (int64_t& id : ids) {
      id = static_cast<int64_t>((*random)() % (20000 + kNumStaying)) -
           kNumStaying;
    }
    std::vector<float> rows(ids.size() * kDim);
    const std::unique_ptr<bool[]> exists(new bool[ids.size()]);
    table_->Lookup(ids.data(), ids.size(), rows.data(), exists.get());
    for (size_t i = 0; i < ids.size(); ++i) {
      ExpectWhole(rows.data() + i * kDim);
      EXPECT_TRUE(exists[i] || ids[i] >= 0) << ids[i];
    }
  }

  void ExpectStayingOnce(const std::vector<int64_t>& ids) {
    std::vector<int64_t> seen;
    for (const int64_t id : ids) {
      if (id < 0) seen.push_back(id);
    }
    std::sort(seen.begin(), seen.end());
    std::vector<int64_t> expected = staying_;
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(seen, expected);
  }

  void Iterate(std::mt19937_64* random) {
    std::vector<int64_t> ids, stamps, group_counts;
    std::vector<float> rows;
    for (int64_t cursor = 0; cursor >= 0;) {
      cursor = table_->ExportChunk(cursor, 100 + (*random)() % 3000, &ids,
                                   &rows, &stamps);
    }
    ExpectStayingOnce(ids);
    for (size_t i = 0; i < ids.size(); ++i) ExpectWhole(&rows[i * kDim]);
    table_->ExportGroups(0, kNumGroups, &group_counts, &ids, &stamps, &rows);
    ExpectStayingOnce(ids);
    for (size_t i = 0; i < ids.size(); ++i) ExpectWhole(&rows[i * kDim]);
    int64_t num_counted = 0;
    for (const std::vector<int64_t>& saved :
         table_->ExportFilter(0, kNumGroups)) {
      for (size_t i = 0; i < saved.size(); i += 2) {
        num_counted += saved[i] >> 60 == 1;
      }
    }
    EXPECT_EQ(num_counted, kNumCounted);
    ++num_passes_;
  }

  void TakeDelta() {
    auto delta = tables_.TakeDelta(acked_);
    ASSERT_TRUE(delta.ok()) << delta.status();
    acked_ = delta->to_cut;
    const TableDelta& changes = delta->tables[0];
    const float* row = changes.rows.data();
    for (size_t i = 0; i < changes.ids.size(); ++i) {
      if (changes.exists[i] == 0) {
        replica_.erase(changes.ids[i]);
        continue;
      }
      ExpectWhole(row);
      replica_[changes.ids[i]] = row[0];
      row += kDim;
    }
  }

  TableSet tables_;
  std::shared_ptr<Table> table_;
  std::vector<int64_t> staying_;
  std::vector<int64_t> counted_;
  int64_t steps_[kNumStaying] = {};
  std::map<int64_t, float> replica_;
  int64_t acked_ = 0;
  std::atomic<int64_t> num_torn_{0};
  std::atomic<int64_t> num_passes_{0};
};

TEST_P(RowLifecycleStressTest, NothingIsTornLostOrSeenTwice) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  for (const auto& [id, row] : Export(*table_)) replica_[id] = row.floats[0];
  acked_ = tables_.cut();
  RunTogether({
      {[&](std::mt19937_64* random) { Churn(random, 0); }, false},
      {[&](std::mt19937_64* random) { Churn(random, 10000); }, false},
      {[&](std::mt19937_64* random) { RefreshStaying(random); }, false},
      {[&](std::mt19937_64* random) { LookUp(random); }, true},
      {[&](std::mt19937_64* random) { Iterate(random); }, true},
      {[&](std::mt19937_64*) { TakeDelta(); }, true},
      {[&](std::mt19937_64*) {
         table_->Sweep(0);
         const TableStats stats = table_->stats();
         EXPECT_GE(stats.num_rows, kNumStaying);
         EXPECT_GT(tables_.memory_bytes(), 0);
       },
       true},
  });
  EXPECT_EQ(num_torn_, 0);
  EXPECT_GE(num_passes_, 1);
  table_->Sweep(0);
  TakeDelta();

  // Nobody is there whose time ran out; the replica is the table.
  const int64_t clock = kStart + kTtl;
  std::map<int64_t, float> rows;
  for (const auto& [id, row] : Export(*table_)) {
    EXPECT_GE(row.stamp + kTtl, clock - kTtl / kNumRounds - kTtl / 4);
    rows[id] = row.floats[0];
  }
  EXPECT_EQ(rows, replica_);
  for (int64_t i = 0; i < kNumStaying; ++i) {
    EXPECT_EQ(rows.at(staying_[i]), static_cast<float>(1 + steps_[i]));
  }
  // Every row came by one way and went by one.
  const TableStats stats = table_->stats();
  EXPECT_EQ(stats.num_admitted,
            stats.num_rows + stats.num_expired + stats.num_removed);
  EXPECT_GT(stats.num_expired, 1000);
  EXPECT_GT(stats.num_removed, 100);
}

INSTANTIATE_TEST_SUITE_P(Precisions, RowLifecycleStressTest,
                         ::testing::Values("float32", "bfloat16"),
                         [](const ::testing::TestParamInfo<std::string>& info) {
                           return info.param;
                         });

// A cap that every update is up against, in stripes that fill and empty.
TEST(CapStressTest, ACapHoldsWhileThreadsInsertRemoveAndClear) {
  for (const int64_t cap : {500, 6000}) {
    TableConfig config = SgdConfig(kDim);
    config.eviction.max_rows = cap;
    const auto table = MakeTable(config);
    std::vector<Worker> workers;
    for (int thread = 0; thread < 3; ++thread) {
      workers.push_back({[&](std::mt19937_64* random) {
                           for (int round = 0; round < 40; ++round) {
                             const std::vector<int64_t> ids =
                                 Range((*random)() % 100000, 300);
                             ASSERT_TRUE(Apply(table.get(), {ids}).ok());
                             if (round % 8 == 7) {
                               table->Remove(ids.data(), ids.size());
                             }
                             if (round == 20) table->Clear();
                           }
                         },
                         false});
    }
    workers.push_back({[&](std::mt19937_64*) {
                         Export(*table);
                         table->Sweep(0);
                       },
                       true});
    RunTogether(workers);
    EXPECT_LE(table->size(), cap);
    ASSERT_TRUE(Apply(table.get(), {Range(0, 5 * cap)}).ok());
    EXPECT_EQ(table->size(), cap);
    table->Sweep(0);
    EXPECT_EQ(table->size(), cap);
  }
}

}  // namespace
}  // namespace monolith_tf
