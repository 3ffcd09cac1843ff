// Which rows go when there are more than a cap allows.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ops/cc/table/table.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

using Floats = std::vector<float>;

// A row's weights are the number of its steps, a new row starts at 0.
TableConfig Config(int64_t max_rows, const std::string& policy) {
  TableConfig config =
      TableConfig::OfOneSegment("movie", 2, {"sgd", {}, {}}, {"zeros", {}}, 0);
  config.eviction.max_rows = max_rows;
  config.eviction.policy = policy;
  return config;
}

void Occur(Table* table, const std::vector<int64_t>& ids, int64_t time) {
  Update update;
  update.ids = ids;
  update.gradient = -1.0f;
  update.event_time = time;
  ASSERT_TRUE(Apply(table, update).ok());
}

std::vector<int64_t> Ids(const Table& table) {
  std::vector<int64_t> ids;
  for (const auto& [id, row] : Export(table)) ids.push_back(id);
  return ids;
}

// Of rows that exist.
float StepsOf(const Table& table, int64_t id) {
  EXPECT_TRUE(Exists(table, {id})[0]) << id;
  return Rows(table, {id})[0];
}

std::vector<int64_t> Joined(std::vector<int64_t> ids,
                            const std::vector<int64_t>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
  return ids;
}

// An update of `ids` in three parts, one after the other or at once.
void OccurInParts(Table* table, const std::vector<int64_t>& ids, int64_t time,
                  bool at_once) {
  constexpr int kNumParts = 3;
  const std::vector<int64_t> counts(ids.size(), 1);
  const Floats gradients(ids.size() * table->dim(), -1.0f);
  const float rate = 1.0f;
  ApplyRequest request;
  request.ids = ids.data();
  request.counts = counts.data();
  request.gradients = gradients.data();
  request.n = static_cast<int64_t>(ids.size());
  request.global_step = 1;
  request.event_time = time;
  request.learning_rates = &rate;
  ASSERT_TRUE(table->Check(request).ok());
  const RunningUpdate update = table->BeginParts(request);
  const auto work = [&](int part) {
    EXPECT_TRUE(table->ApplyPart(request, update, {part, kNumParts}).ok());
  };
  std::vector<std::thread> threads;
  for (int part = 0; part < kNumParts; ++part) {
    if (at_once) {
      threads.emplace_back(work, part);
    } else {
      work(part);
    }
  }
  for (std::thread& thread : threads) thread.join();
  table->EndUpdate(update);
}

TEST(CapTest, UpdatesOfOneSecondAreInTheirOrder) {
  for (const std::string policy : {"lru", "lfu"}) {
    const auto table = MakeTable(Config(2, policy));
    for (const int64_t id : {3, 2, 1}) Occur(table.get(), {id}, 1000);
    EXPECT_EQ(Ids(*table), (std::vector<int64_t>{1, 2})) << policy;
    // 2 is the later one now; 9 came before.
    Occur(table.get(), {9}, 1000);
    EXPECT_EQ(Ids(*table), (std::vector<int64_t>{1, 9})) << policy;
  }
  // And of an id that was there.
  const auto table = MakeTable(Config(2, "lru"));
  for (const int64_t id : {1, 2, 1, 3}) Occur(table.get(), {id}, 1000);
  EXPECT_EQ(Ids(*table), (std::vector<int64_t>{1, 3}));
}

TEST(CapTest, EventTimeGoesBeforeTheOrderOfUpdates) {
  const auto table = MakeTable(Config(2, "lru"));
  Occur(table.get(), {1}, 1005);
  Occur(table.get(), {2}, 1000);
  Occur(table.get(), {3}, 1001);
  EXPECT_EQ(Ids(*table), (std::vector<int64_t>{1, 3}));
}

TEST(CapTest, AnAssignmentIsAnUpdateARestoreIsNot) {
  const auto table = MakeTable(Config(2, "lru"));
  const Floats weights = {5, 5};
  const auto assign = [&](int64_t id) {
    ASSERT_TRUE(table->Assign(&id, weights.data(), 1, 1000).ok());
  };
  for (const int64_t id : {3, 2, 1}) assign(id);
  EXPECT_EQ(Ids(*table), (std::vector<int64_t>{1, 2}));
  // Restored rows of one time go by their ids, whenever they came.
  const auto restored = MakeTable(Config(2, "lru"));
  const int64_t stamp = 1000;
  for (const int64_t id : {3, 2, 1}) {
    ASSERT_TRUE(restored->Import(&id, &stamp, weights.data(), 1).ok());
  }
  EXPECT_EQ(Ids(*restored), (std::vector<int64_t>{2, 3}));
  // Before those of updates of that time.
  Occur(restored.get(), {0}, 1000);
  EXPECT_EQ(Ids(*restored), (std::vector<int64_t>{0, 3}));
}

TEST(CapTest, AnIdOfEveryUpdateStays) {
  const auto table = MakeTable(Config(300, "lru"));
  for (int64_t i = 0; i < 300; ++i) {
    Occur(table.get(), Joined({7}, Range(1000 + 40 * i, 40)), 1000);
  }
  EXPECT_EQ(StepsOf(*table, 7), 300);
  EXPECT_EQ(table->size(), 300);
}

// Also with large caps.
TEST(CapTest, RowsOfTheUpdateAreKeptWithTheirState) {
  for (const int64_t cap : {300, 6000}) {
    for (const std::string policy : {"lru", "lfu", "lowest_norm"}) {
      for (const bool at_once : {false, true}) {
        SCOPED_TRACE(policy);
        const auto table = MakeTable(Config(cap, policy));
        OccurInParts(table.get(), Range(0, cap), 1000, at_once);
        // The first third again, and two thirds that are new.
        const std::vector<int64_t> known = Range(0, cap / 3);
        const std::vector<int64_t> fresh = Range(100000, 2 * cap / 3);
        const std::vector<int64_t> ids = Joined(fresh, known);
        OccurInParts(table.get(), ids, 1000, at_once);
        EXPECT_EQ(Ids(*table), Joined(known, fresh));
        for (const int64_t id : known) ASSERT_EQ(StepsOf(*table, id), 2);
        for (const int64_t id : fresh) ASSERT_EQ(StepsOf(*table, id), 1);
        EXPECT_EQ(table->stats().num_capped, 2 * cap / 3);
      }
    }
  }
}

TEST(CapTest, OfAnUpdateOfMoreRowsThanTheCapTheRestGoes) {
  for (const int64_t cap : {1, 300, 6000}) {
    for (const std::string policy : {"lru", "lfu", "lowest_norm"}) {
      const auto table = MakeTable(Config(cap, policy));
      Occur(table.get(), Range(0, cap), 1000);
      Occur(table.get(), Range(100000, 2 * cap + 100), 1000);
      EXPECT_EQ(table->size(), cap) << policy;
      EXPECT_GE(Ids(*table)[0], 100000) << policy;
    }
  }
}

TEST(CapTest, ANewIdGetsIntoAFullTableOfAnyPolicy) {
  for (const std::string policy : {"lru", "lfu", "lowest_norm"}) {
    for (const bool tracks_changes : {true, false}) {
      if (!tracks_changes && policy != "lowest_norm") continue;
      TableConfig config = Config(3, policy);
      config.tracks_changes = tracks_changes;
      const auto table = MakeTable(config);
      // 1 is the one that occurred least, longest ago, with the least weight.
      for (int i = 0; i < 20; ++i) Occur(table.get(), {1, 2, 3}, 700 + i);
      for (int i = 0; i < 200; ++i) Occur(table.get(), {2, 3}, 801 + i);
      Occur(table.get(), {77}, 1000);
      EXPECT_EQ(Ids(*table), (std::vector<int64_t>{2, 3, 77})) << policy;
      EXPECT_EQ(StepsOf(*table, 77), 1);
      // So does the next, for which 77 goes.
      Occur(table.get(), {78}, policy == "lru" ? 2000 : 1000);
      if (policy != "lru") {
        EXPECT_EQ(Ids(*table), (std::vector<int64_t>{2, 3, 78})) << policy;
      }
    }
  }
}

TEST(CapTest, ASmallCapKeepsTheLatestExactly) {
  const auto table = MakeTable(Config(10, "lru"));
  for (int64_t id = 0; id < 30; ++id) Occur(table.get(), {id}, 1000 + id);
  EXPECT_EQ(Ids(*table), Range(20, 10));
  Occur(table.get(), {20}, 2000);
  Occur(table.get(), {99}, 2001);
  EXPECT_EQ(Ids(*table), Joined(Joined({20}, Range(22, 8)), {99}));
  EXPECT_EQ(table->stats().num_capped, 21);
  // And in one batch, of equal times: then the larger ids stay.
  Occur(table.get(), Range(1000, 500), 3000);
  EXPECT_EQ(Ids(*table), Range(1490, 10));
}

TEST(CapTest, ASmallCapKeepsTheMostFrequent) {
  const auto table = MakeTable(Config(11, "lfu"));
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(Apply(table.get(), {Range(0, 10), 1, 1, i + 1, 1000 + i}).ok());
  }
  // Newcomers make room for each other.
  for (int64_t id = 100; id < 200; ++id) Occur(table.get(), {id}, 5000);
  EXPECT_EQ(Ids(*table), Joined(Range(0, 10), {199}));
  const SavedRow row = Export(*table)[0];
  EXPECT_GT(row.stamp >> 32, 2);
  EXPECT_EQ(row.stamp & 0xFFFFFFFF, 1049);
}

TEST(CapTest, ASmallCapKeepsTheLargestRowsWithOrWithoutTimes) {
  for (const bool tracks_changes : {true, false}) {
    TableConfig config = Config(10, "lowest_norm");
    config.tracks_changes = tracks_changes;
    const auto table = MakeTable(config);
    for (int64_t id = 0; id < 30; ++id) {
      const float size = static_cast<float>(id * 7 % 30 + 1);
      const Floats weights = {size, -size};
      ASSERT_TRUE(table->Assign(&id, weights.data(), 1, 0).ok());
    }
    for (const int64_t id : Ids(*table)) EXPECT_GE(id * 7 % 30, 20) << id;
    EXPECT_EQ(table->size(), 10);
  }
}

TEST(CapTest, ALargeCapIsKeptByEveryUpdate) {
  constexpr int64_t kCap = 20000;
  for (const std::string policy : {"lru", "lfu", "lowest_norm"}) {
    const auto table = MakeTable(Config(kCap, policy));
    for (int i = 0; i < 40; ++i) {
      Occur(table.get(), Range(i * 1500, 1500), 1000 + i);
      ASSERT_EQ(table->size(), std::min<int64_t>(kCap, 1500 * (i + 1)));
    }
    EXPECT_EQ(table->Sweep(0), 0);
    EXPECT_EQ(table->stats().num_capped, 60000 - kCap);
  }
}

// Of the rows that an exact policy would keep, the share that is kept.
TEST(CapTest, ALargeCapIsNearlyAsGoodAsTheExactPolicy) {
  constexpr int64_t kCap = 20000;
  const auto table = MakeTable(Config(kCap, "lru"));
  for (int64_t i = 0; i < 100; ++i) {
    Occur(table.get(), Range(i * 1000, 1000), 1000 + i);
  }
  int64_t num_good = 0;
  double mean_rank = 0;
  for (const int64_t id : Ids(*table)) {
    num_good += id >= 100000 - kCap;
    mean_rank += static_cast<double>(100000 - id) / table->size();
  }
  const double quality = static_cast<double>(num_good) / kCap;
  RecordProperty("quality", std::to_string(quality));
  EXPECT_GT(quality, 0.85);
  // Exactly, it would be half the cap.
  EXPECT_LT(mean_rank, 0.6 * kCap);
}

TEST(CapTest, ABoundInBytesHoldsForRowsTheirSegmentsAndTheIndex) {
  for (const int64_t dim : {1, 16, 64}) {
    for (const int64_t mebibytes : {1, 8, 64}) {
      // One large one, of few rows, is enough to wait for.
      if (mebibytes == 64 && dim != 64) continue;
      SCOPED_TRACE(mebibytes);
      const int64_t max_bytes = mebibytes << 20;
      TableConfig config = SgdConfig(dim);
      config.eviction.max_bytes = max_bytes;
      const auto table = MakeTable(config);
      // Twice as many ids as there is room for, 1 in 25 of them an update.
      const int64_t num_new = max_bytes / (24 + 4 * dim) / 25;
      for (int64_t i = 0; i < 50; ++i) {
        Occur(table.get(), Range(i * num_new, num_new), 1000);
      }
      const TableStats before = table->stats();
      EXPECT_EQ(table->Sweep(0), 0);
      const TableStats after = table->stats();
      // The index of a small table grows by parts of a chunk.
      const int64_t leeway = mebibytes == 1 ? max_bytes / 50 : 0;
      EXPECT_LE(after.arena_bytes + after.index_bytes, max_bytes + leeway)
          << dim;
      // Without a sweep, arenas keep what the last updates had on top.
      EXPECT_LE(before.arena_bytes + before.index_bytes, max_bytes * 5 / 4)
          << dim;
      // It is made use of.
      const double in_use = after.row_bytes + 7.3 * after.num_rows;
      EXPECT_GE(in_use, 0.65 * max_bytes) << dim;
    }
  }
}

TEST(CapTest, IdsThatWaitTakeUpToHalfOfABoundInBytes) {
  TableConfig config = SgdConfig(16);
  config.eviction.max_bytes = 4 << 20;
  config.admission.kind = "count";
  config.admission.min_count = 2;
  const auto table = MakeTable(config);
  const auto occur = [&](int64_t first, int64_t n, int64_t count) {
    Update update;
    update.ids = Range(first, n);
    update.counts.assign(n, count);
    ASSERT_TRUE(Apply(table.get(), update).ok());
  };
  occur(0, 100000, 2);
  const int64_t most = table->size();
  EXPECT_GT(most, 35000);
  EXPECT_EQ(table->stats().num_counted, 0);
  // 27 bytes or more each.
  occur(1000000, 30000, 1);
  const int64_t fewer = table->size();
  EXPECT_LT(fewer, most - 30000 * 27 / 120);
  EXPECT_GT(fewer, most - 30000 * 29 / 99);
  const TableStats stats = table->stats();
  EXPECT_EQ(stats.num_counted, 30000);
  occur(2000000, 400000, 1);
  EXPECT_EQ(table->size(), most / 2);
  EXPECT_EQ(table->stats().num_counted, 430000);
  // Rows have the room again when ids wait no longer.
  table->Clear();
  occur(0, 100000, 2);
  EXPECT_EQ(table->size(), most);
}

TEST(CapTest, ARestoreIsCappedToo) {
  constexpr int64_t kCap = 8000;
  const auto table = MakeTable(Config(kCap, "lru"));
  const std::vector<int64_t> ids = Range(0, 30000);
  const std::vector<int64_t> stamps(ids.size(), 77);
  const Floats rows(ids.size() * 2, 1.0f);
  ASSERT_TRUE(
      table->Import(ids.data(), stamps.data(), rows.data(), ids.size()).ok());
  EXPECT_EQ(table->size(), kCap);
}

TEST(CapTest, ASweepLeavesTheCapToAnUpdateThatRuns) {
  const auto table = MakeTable(Config(2, "lfu"));
  Occur(table.get(), {1, 2}, 1000);
  const RunningUpdate update = table->BeginUpdate();
  const std::vector<int64_t> ids = {5, 6};
  const Floats weights = {1, 1, 1, 1};
  ASSERT_TRUE(
      table->AssignPart(ids.data(), weights.data(), 2, 1000, update, {}).ok());
  EXPECT_EQ(table->Sweep(0), 0);
  EXPECT_EQ(Ids(*table), (std::vector<int64_t>{1, 2, 5, 6}));
  table->EndUpdate(update);
  EXPECT_EQ(Ids(*table), ids);
}

TEST(CapTest, ACapHoldsAfterClear) {
  const auto table = MakeTable(Config(5000, "lru"));
  Occur(table.get(), Range(0, 9000), 1000);
  table->Clear();
  Occur(table.get(), Range(0, 4900), 1000);
  EXPECT_EQ(table->size(), 4900);
  Occur(table.get(), Range(0, 9000), 1001);
  EXPECT_EQ(table->size(), 5000);
}

// Updates that begin, step and end in any order.
TEST(CapTest, ACapHoldsAndRowsAreExactWhateverRunsAtOnce) {
  for (const int64_t cap : {400, 6000}) {
    for (const std::string policy : {"lru", "lfu", "lowest_norm"}) {
      SCOPED_TRACE(policy);
      const auto table = MakeTable(Config(cap, policy));
      std::vector<std::thread> threads;
      for (int thread = 0; thread < 3; ++thread) {
        threads.emplace_back([&, thread] {
          std::mt19937_64 random(thread);
          for (int round = 0; round < 20; ++round) {
            const auto first = static_cast<int64_t>(random() % 20000);
            OccurInParts(table.get(), Range(first, cap / 3), 1000,
                         /*at_once=*/round % 8 == 0);
            if (round % 8 == 3) table->Sweep(0);
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
      ASSERT_EQ(table->size(), cap);
      // One more, of old and new ids: each is one step further, and there.
      const std::vector<int64_t> ids = Range(0, cap);
      const Floats before = Rows(*table, ids);
      OccurInParts(table.get(), ids, 1000, /*at_once=*/true);
      ASSERT_EQ(Ids(*table), ids);
      Floats expected = before;
      for (float& steps : expected) ++steps;
      ASSERT_EQ(Rows(*table, ids), expected);
    }
  }
}

TEST(CapTest, TheBoundInBytesHoldsAfterTheTableWasEmpty) {
  constexpr int64_t kBytes = 8 << 20;
  TableConfig config = SgdConfig(16);
  config.eviction.max_bytes = kBytes;
  config.eviction.ttl_seconds = 10;
  auto table = MakeTable(config);
  const auto fill = [&](int64_t first, int64_t time) {
    for (int64_t begin = first; begin < first + 400000; begin += 20000) {
      Update update;
      update.ids = Range(begin, 20000);
      update.event_time = time;
      EXPECT_TRUE(Apply(table.get(), update).ok());
    }
    const TableStats stats = table->stats();
    return stats.arena_bytes + stats.index_bytes;
  };
  const int64_t before = fill(0, 1000);
  table->Sweep(5000);
  ASSERT_EQ(table->size(), 0);
  EXPECT_LE(fill(10000000, 5000),
            std::max<int64_t>(kBytes, before * 102 / 100));
}

}  // namespace
}  // namespace monolith_tf
