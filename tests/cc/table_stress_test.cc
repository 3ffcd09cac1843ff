// Many threads on one table set at once, with checks that hold meanwhile and
// after all have stopped.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ops/cc/table/table.h"
#include "ops/cc/table/table_set.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

// Runs `updates` in threads of their own until each has done its share, and
// `others` over and over meanwhile.
void RunTogether(const std::vector<std::function<void()>>& updates,
                 const std::vector<std::function<void()>>& others) {
  std::atomic<int> num_running{static_cast<int>(updates.size())};
  std::vector<std::thread> threads;
  for (const auto& update : updates) {
    threads.emplace_back([&num_running, &update] {
      update();
      --num_running;
    });
  }
  for (const auto& other : others) {
    threads.emplace_back([&num_running, &other] {
      do {
        other();
      } while (num_running > 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

constexpr int64_t kDim = 24;

class TableStressTest : public ::testing::Test {
 protected:
  TableStressTest() : tables_("model", 0, 1, 1) {
    EXPECT_TRUE(tables_.CreateTable(SgdConfig(kDim)).ok());
    table_ = *tables_.Find("movie");
  }

  // Rows of this test have equal elements in whatever state; an update that
  // was half done would show.
  void ExpectWhole(const float* row, int64_t width) {
    for (int64_t j = 1; j < width; ++j) {
      if (row[j] != row[0]) {
        ++num_torn_;
        return;
      }
    }
  }

  void ApplyTo(const std::vector<int64_t>& ids, float gradient) {
    EXPECT_TRUE(
        Step(table_.get(), ids, std::vector<float>(ids.size(), gradient), 1.0f)
            .ok());
  }

  void LookUp(std::mt19937_64* random, int64_t num_ids) {
    std::vector<int64_t> ids(500);
    for (int64_t& id : ids) id = (*random)() % num_ids;
    const std::vector<float> rows = Rows(*table_, ids);
    for (size_t i = 0; i < ids.size(); ++i) {
      ExpectWhole(rows.data() + i * kDim, kDim);
    }
  }

  TableSet tables_;
  std::shared_ptr<Table> table_;
  std::atomic<int64_t> num_torn_{0};
};

TEST_F(TableStressTest, ConcurrentStepsOfSgdSumExactly) {
  constexpr int kNumThreads = 4;
  constexpr int64_t kNumIds = 20000;
  std::vector<std::function<void()>> updates;
  for (int thread = 0; thread < kNumThreads; ++thread) {
    updates.push_back([this, thread] {
      // Each thread steps each id twice, in an order of its own.
      std::vector<int64_t> ids;
      for (int64_t i = 0; i < 2 * kNumIds; ++i) {
        ids.push_back((i * (2 * thread + 7) + thread * 1000) % kNumIds);
        if (ids.size() == 700) {
          ApplyTo(ids, -1.0f);
          ids.clear();
        }
      }
      ApplyTo(ids, -1.0f);
    });
  }
  std::mt19937_64 random(5);
  RunTogether(updates, {[&] { LookUp(&random, kNumIds); }});
  EXPECT_EQ(num_torn_, 0);
  EXPECT_EQ(table_->size(), kNumIds);
  std::vector<int64_t> ids(kNumIds);
  for (int64_t i = 0; i < kNumIds; ++i) ids[i] = i;
  for (const float value : Rows(*table_, ids)) {
    ASSERT_EQ(value, 2.0f * kNumThreads);
  }
}

TEST_F(TableStressTest, EverythingAtOnceLeavesTheReplicaEqualToTheTable) {
  constexpr int64_t kNumIds = 6000;
  ASSERT_TRUE(tables_.StartDeltas().ok());
  std::vector<std::function<void()>> updates;
  for (int thread = 0; thread < 3; ++thread) {
    updates.push_back([this, thread] {
      std::mt19937_64 random(thread);
      for (int round = 0; round < 150; ++round) {
        std::vector<int64_t> ids(random() % 400);
        for (int64_t& id : ids) id = random() % kNumIds;
        switch (random() % 8) {
          case 0:
          case 1:
            table_->Remove(ids.data(), ids.size());
            break;
          case 2: {
            const std::vector<float> rows(ids.size() * kDim, 3.0f);
            EXPECT_TRUE(
                table_->Assign(ids.data(), rows.data(), ids.size(), 0).ok());
            break;
          }
          case 3:
            if (round % 37 == 0) table_->Clear();
            break;
          default:
            ApplyTo(ids, static_cast<float>(random() % 4));
        }
      }
    });
  }

  std::unordered_map<int64_t, std::vector<float>> replica;
  int64_t acked = 0;
  std::mt19937_64 delta_random(50);
  const auto take_delta = [&](bool may_lose) {
    auto delta = tables_.TakeDelta(acked);
    ASSERT_TRUE(delta.ok()) << delta.status();
    if (may_lose && delta_random() % 4 == 0) return;
    acked = delta->to_cut;
    const TableDelta& changes = delta->tables[0];
    const float* row = changes.rows.data();
    for (size_t i = 0; i < changes.ids.size(); ++i) {
      if (!changes.exists[i]) {
        replica.erase(changes.ids[i]);
        continue;
      }
      ExpectWhole(row, kDim);
      replica[changes.ids[i]].assign(row, row + kDim);
      row += kDim;
    }
  };
  std::mt19937_64 random(60);
  RunTogether(updates, {[&] { LookUp(&random, kNumIds); },
                        [&] { take_delta(/*may_lose=*/true); },
                        [&] {
                          std::vector<int64_t> ids;
                          std::vector<float> rows;
                          for (int64_t cursor = 0; cursor >= 0;) {
                            ids.clear();
                            rows.clear();
                            cursor = table_->ExportChunk(cursor, 300, &ids,
                                                         &rows, nullptr);
                            for (size_t i = 0; i < ids.size(); ++i) {
                              ExpectWhole(rows.data() + i * kDim, kDim);
                            }
                          }
                          EXPECT_GE(table_->size(), 0);
                          EXPECT_GT(tables_.memory_bytes(), 0);
                        }});
  take_delta(/*may_lose=*/false);
  EXPECT_EQ(num_torn_, 0);

  EXPECT_EQ(static_cast<int64_t>(replica.size()), table_->size());
  std::vector<int64_t> ids;
  std::vector<float> rows;
  ASSERT_EQ(table_->ExportChunk(0, 1 << 20, &ids, &rows, nullptr), -1);
  ASSERT_EQ(ids.size(), replica.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto found = replica.find(ids[i]);
    ASSERT_NE(found, replica.end()) << "id " << ids[i];
    ASSERT_EQ(found->second, std::vector<float>(rows.begin() + i * kDim,
                                                rows.begin() + (i + 1) * kDim));
  }
}

TEST_F(TableStressTest, RowsThatStayAreExportedOnceWhileOthersComeAndGo) {
  constexpr int64_t kNumStaying = 5000;
  std::vector<int64_t> staying(kNumStaying);
  for (int64_t i = 0; i < kNumStaying; ++i) staying[i] = -1 - i;
  ApplyTo(staying, 1.0f);
  const auto churn = [this](int64_t first) {
    for (int64_t round = 0; round < 60; ++round) {
      std::vector<int64_t> ids(1000);
      for (int i = 0; i < 1000; ++i) ids[i] = first + round * 500 + i;
      ApplyTo(ids, 1.0f);
      if (round % 2 == 1) table_->Remove(ids.data(), ids.size());
    }
  };
  int num_passes = 0;
  const auto export_all = [&] {
    std::multiset<int64_t> seen;
    for (int64_t cursor = 0; cursor >= 0;) {
      std::vector<int64_t> ids;
      cursor = table_->ExportChunk(cursor, 200, &ids, nullptr, nullptr);
      for (const int64_t id : ids) {
        if (id < 0) seen.insert(id);
      }
    }
    ASSERT_EQ(seen, std::multiset<int64_t>(staying.begin(), staying.end()));
    std::vector<int64_t> counts, ids, times;
    std::vector<float> rows;
    table_->ExportGroups(0, 64, &counts, &ids, &times, &rows);
    seen.clear();
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0) seen.insert(ids[i]);
      ExpectWhole(rows.data() + i * kDim, kDim);
    }
    ASSERT_EQ(seen, std::multiset<int64_t>(staying.begin(), staying.end()));
    ++num_passes;
  };
  RunTogether({[&] { churn(0); }, [&] { churn(1000000); }}, {export_all});
  EXPECT_GE(num_passes, 1);
  EXPECT_EQ(num_torn_, 0);
}

TEST_F(TableStressTest, TablesAreMadeFoundAndDroppedWhileOthersWork) {
  const auto make_and_drop = [this](const std::string& name) {
    for (int round = 0; round < 60; ++round) {
      ASSERT_TRUE(tables_.CreateTable(SgdConfig(2, name)).ok());
      auto table = tables_.Find(name);
      ASSERT_TRUE(table.ok());
      ASSERT_TRUE(Step(table->get(), {1, 2, 3}, {1, 1, 1}, 1.0f).ok());
      ASSERT_TRUE(tables_.DropTable(name).ok());
      ASSERT_EQ(Rows(**table, {2}), (std::vector<float>{-1.0f, -1.0f}));
    }
  };
  ASSERT_TRUE(tables_.StartDeltas().ok());
  RunTogether({[&] { make_and_drop("a"); }, [&] { make_and_drop("b"); }},
              {[&] {
                 ApplyTo({1, 2, 3}, 1.0f);
                 EXPECT_TRUE(tables_.Find("movie").ok());
                 EXPECT_GE(tables_.TableNames().size(), 1u);
               },
               [&] { EXPECT_TRUE(tables_.TakeDelta(tables_.cut()).ok()); }});
  EXPECT_EQ(tables_.TableNames(), std::vector<std::string>{"movie"});
}

}  // namespace
}  // namespace monolith_tf
