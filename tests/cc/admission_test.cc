// Which ids get a row, and when.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/admission/packed_count.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/table/table.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

using Floats = std::vector<float>;

// Rows of one weight that starts at 1, stepped by SGD.
TableConfig Config(const AdmissionConfig& admission) {
  TableConfig config = SgdConfig(1);
  config.segments[0].initializer = {"constant", {1.0f}};
  config.admission = admission;
  return config;
}

AdmissionConfig Count(int64_t min_count, int64_t window_seconds = 0) {
  AdmissionConfig admission;
  admission.kind = "count";
  admission.min_count = min_count;
  admission.window_seconds = window_seconds;
  return admission;
}

AdmissionConfig Sketch(int64_t min_count, int64_t bytes) {
  AdmissionConfig admission;
  admission.kind = "sketch";
  admission.min_count = min_count;
  admission.sketch_bytes = bytes;
  return admission;
}

AdmissionConfig Probability(float probability) {
  AdmissionConfig admission;
  admission.kind = "probability";
  admission.probability = probability;
  return admission;
}

void Occur(Table* table, const std::vector<int64_t>& ids, int64_t time = 0) {
  Update update;
  update.ids = ids;
  update.event_time = time;
  ASSERT_TRUE(Apply(table, update).ok());
}

TEST(AdmissionTest, TheUpdateThatBringsAnIdOverTheBarMakesAndStepsItsRow) {
  const auto table = MakeTable(Config(Count(3)));
  for (int i = 0; i < 2; ++i) {
    Occur(table.get(), {5});
    EXPECT_EQ(Exists(*table, {5}), std::vector<bool>{false});
    EXPECT_EQ(Rows(*table, {5}), Floats{1.0f});
    EXPECT_EQ(table->stats().num_counted, 1);
  }
  Occur(table.get(), {5});
  EXPECT_EQ(Exists(*table, {5}), std::vector<bool>{true});
  EXPECT_EQ(Rows(*table, {5}), Floats{0.0f});
  EXPECT_EQ(table->stats().num_counted, 0);
  Occur(table.get(), {5});
  EXPECT_EQ(Rows(*table, {5}), Floats{-1.0f});
}

TEST(AdmissionTest, ALookupDoesNotCount) {
  const auto table = MakeTable(Config(Count(2)));
  for (int i = 0; i < 5; ++i) Rows(*table, {5});
  EXPECT_EQ(table->stats().num_counted, 0);
  Occur(table.get(), {5});
  EXPECT_EQ(table->size(), 0);
}

TEST(AdmissionTest, OccurrencesOfABatchCountAtOnce) {
  const auto table = MakeTable(Config(Count(3)));
  ASSERT_TRUE(Apply(table.get(), {{1, 2}, 1, 1, 1, 0, {3, 2}}).ok());
  EXPECT_EQ(Exists(*table, {1, 2}), (std::vector<bool>{true, false}));
  // An id that is repeated is counted one by one: its third comes in.
  Occur(table.get(), {7, 7, 8, 7, 7});
  EXPECT_EQ(Exists(*table, {7, 8}), (std::vector<bool>{true, false}));
  EXPECT_EQ(Rows(*table, {7}), Floats{-1.0f});
}

TEST(AdmissionTest, AnIdMayBringAMinCountOfItsOwn) {
  for (const AdmissionConfig& admission : {Count(2), Sketch(2, 1 << 20)}) {
    const auto table = MakeTable(Config(admission));
    const int64_t own = int64_t{4} << 16;
    ASSERT_TRUE(Apply(table.get(), {{1, 2}, 1, 1, 1, 0, {2, 2 | own}}).ok());
    EXPECT_EQ(Exists(*table, {1, 2}), (std::vector<bool>{true, false}));
    ASSERT_TRUE(Apply(table.get(), {{2}, 1, 1, 1, 0, {2 | own}}).ok());
    EXPECT_EQ(Exists(*table, {2}), std::vector<bool>{true});
    // Also a lower one: 1 admits at once.
    ASSERT_TRUE(
        Apply(table.get(), {{3}, 1, 1, 1, 0, {1 | int64_t{1} << 16}}).ok());
    EXPECT_EQ(Exists(*table, {3}), std::vector<bool>{true});
  }
}

TEST(AdmissionTest, AMinCountThatCannotBeCountedToIsRefused) {
  const auto counts = [](int64_t own) {
    return std::vector<int64_t>{1 | own << 16};
  };
  const auto exact = MakeTable(Config(Count(2)));
  // The largest that fits into its bits.
  EXPECT_TRUE(
      Apply(exact.get(), {{9}, 1, 1, 1, 0, counts(kMaxOwnMinCount)}).ok());
  EXPECT_EQ(exact->size(), 0);
  // Its cells have one byte.
  const auto sketch = MakeTable(Config(Sketch(2, 4096)));
  ExpectError(Apply(sketch.get(), {{9}, 1, 1, 1, 0, counts(256)}),
              absl::StatusCode::kInvalidArgument,
              {"min_count must be in [1, 255] for admission 'sketch'",
               "Received: 256 for id 9"});
  const auto all = MakeTable(Config({}));
  ExpectError(Apply(all.get(), {{9}, 1, 1, 1, 0, counts(2)}),
              absl::StatusCode::kInvalidArgument,
              {"min_count must be in [1, 1] for admission 'all'"});
}

// Whether one occurrence of `id` in step `step` of the table draws the lot.
bool DrawsLot(const TableConfig& config, int64_t id, int64_t step, double p) {
  const uint64_t key = ~TableKey(config.seed, config.name);
  const uint64_t bits = Mix64(IdKey(key, id) + static_cast<uint64_t>(step));
  return static_cast<double>(bits >> 11) * 0x1p-53 < p;
}

TEST(AdmissionTest, AnIdMayBringAProbabilityOfItsOwn) {
  // 3 / 16.
  const int64_t own = PackOverrides(28 << 11 | 1024, 0, true);
  for (const AdmissionConfig& admission :
       {AdmissionConfig(), Count(100), Sketch(100, 1 << 20),
        Probability(1e-6f)}) {
    const TableConfig config = Config(admission);
    const auto table = MakeTable(config);
    for (int64_t step = 1; step <= 3; ++step) {
      for (int64_t id = 0; id < 500; ++id) {
        const bool had_row = Exists(*table, {id})[0];
        ASSERT_TRUE(
            Apply(table.get(), {{id}, 1, 1, step, 0, {PackCount(1, own)}})
                .ok());
        EXPECT_EQ(Exists(*table, {id})[0],
                  had_row || DrawsLot(config, id, step, 3.0 / 16));
      }
    }
    EXPECT_GT(table->size(), 150);
    EXPECT_LT(table->size(), 350);
  }
}

TEST(AdmissionTest, WhatDrawsLotsIsCountedForThoseThatCount) {
  const auto table = MakeTable(Config(Count(3)));
  // About never.
  const int64_t lot = PackCount(1, PackOverrides(0, 0, true));
  for (int64_t step = 1; step <= 5; ++step) {
    ASSERT_TRUE(Apply(table.get(), {{7}, 1, 1, step, 0, {lot}}).ok());
    EXPECT_EQ(table->size(), 0);
    EXPECT_EQ(table->stats().num_counted, 1);
  }
  ASSERT_TRUE(Apply(table.get(), {{7}, 1, 1, 6, 0, {1}}).ok());
  EXPECT_EQ(table->size(), 1);
  EXPECT_EQ(table->stats().num_counted, 0);
  // A lot that wins leaves no counter behind either.
  ASSERT_TRUE(Apply(table.get(), {{8}, 1, 1, 7, 0, {1}}).ok());
  EXPECT_EQ(table->stats().num_counted, 1);
  const int64_t always =
      PackCount(1, PackOverrides(kCertainThreshold, 0, true));
  ASSERT_TRUE(Apply(table.get(), {{8}, 1, 1, 8, 0, {always}}).ok());
  EXPECT_EQ(table->size(), 2);
  EXPECT_EQ(table->stats().num_counted, 0);
}

TEST(AdmissionTest, AMinCountOfOneAdmitsAtOnceWhateverTheTableSays) {
  for (const AdmissionConfig& admission :
       {AdmissionConfig(), Count(9), Sketch(9, 4096), Probability(1e-6f)}) {
    const auto table = MakeTable(Config(admission));
    ASSERT_TRUE(Apply(table.get(), {{3}, 1, 1, 1, 0, {1 | 1 << 16}}).ok());
    EXPECT_EQ(table->size(), 1);
  }
}

TEST(AdmissionTest, AProbabilityThatIsNoneIsRefused) {
  const auto table = MakeTable(Config(Count(2)));
  for (const int64_t count :
       {PackCount(1, PackOverrides(kCertainThreshold + 1, 0, true)),
        int64_t{-1}, PackCount(0, PackOverrides(5, 0, true))}) {
    ExpectError(Apply(table.get(), {{9}, 1, 1, 1, 0, {count}}),
                absl::StatusCode::kInvalidArgument, {"counts must be >= 1"});
  }
  EXPECT_EQ(table->stats().num_counted, 0);
}

TEST(AdmissionTest, IdsWithoutARowReadZerosIfThatIsConfigured) {
  AdmissionConfig admission = Count(2);
  admission.reads_zeros = true;
  const auto table = MakeTable(Config(admission));
  Occur(table.get(), {5});
  EXPECT_EQ(Rows(*table, {5, 6}), (Floats{0, 0}));
  // The row starts from its initial weights all the same.
  Occur(table.get(), {5});
  EXPECT_EQ(Rows(*table, {5}), Floats{0.0f});
  Occur(table.get(), {5});
  EXPECT_EQ(Rows(*table, {5}), Floats{-1.0f});
}

TEST(AdmissionTest, ARemovedRowIsCountedAnew) {
  const auto table = MakeTable(Config(Count(2)));
  Occur(table.get(), {5, 5});
  const int64_t id = 5;
  EXPECT_EQ(table->Remove(&id, 1), 1);
  Occur(table.get(), {5});
  EXPECT_EQ(table->size(), 0);
  Occur(table.get(), {5});
  EXPECT_EQ(Rows(*table, {5}), Floats{0.0f});
}

TEST(AdmissionTest, AnAssignmentAsksNobody) {
  const auto table = MakeTable(Config(Count(3)));
  Occur(table.get(), {5, 6});
  const int64_t id = 5;
  const float weight = 7.0f;
  ASSERT_TRUE(table->Assign(&id, &weight, 1, 0).ok());
  EXPECT_EQ(Rows(*table, {5}), Floats{7.0f});
  EXPECT_EQ(table->stats().num_counted, 1);
  Occur(table.get(), {5});
  EXPECT_EQ(Rows(*table, {5}), Floats{6.0f});
}

TEST(AdmissionTest, OccurrencesBeforeTheWindowDoNotCount) {
  const auto table = MakeTable(Config(Count(2, /*window_seconds=*/100)));
  Occur(table.get(), {1, 2, 3}, 1000);
  Occur(table.get(), {1}, 1049);
  Occur(table.get(), {2}, 1099);
  Occur(table.get(), {3}, 1100);
  EXPECT_EQ(Exists(*table, {1, 2, 3}), (std::vector<bool>{true, true, false}));
  Occur(table.get(), {3}, 1149);
  EXPECT_EQ(Exists(*table, {3}), std::vector<bool>{true});
}

TEST(AdmissionTest, ALateEventCountsNowWhetherItsCounterWasSweptOrNot) {
  for (const bool is_swept : {false, true}) {
    const auto table = MakeTable(Config(Count(2, /*window_seconds=*/100)));
    Occur(table.get(), {1}, 1000);
    // Another id moves the clock on; one in 64 is of the same stripe, and
    // sweeps it.
    Occur(table.get(), {2}, 2000);
    if (is_swept) {
      table->Sweep(0);
      EXPECT_EQ(table->stats().num_counted, 1);
    }
    Occur(table.get(), {1}, 1000);
    EXPECT_EQ(Exists(*table, {1}), std::vector<bool>{false}) << is_swept;
    Occur(table.get(), {1}, 1000);
    EXPECT_EQ(Exists(*table, {1}), std::vector<bool>{true});
  }
}

TEST(AdmissionTest, UpdatesSweepTheCountersOfAStripe) {
  const auto table = MakeTable(Config(Count(1000, /*window_seconds=*/100)));
  Occur(table.get(), Range(0, 20000), 1000);
  EXPECT_EQ(table->stats().num_counted, 20000);
  for (int i = 0; i < 200; ++i) Occur(table.get(), Range(100000, 1000), 3000);
  EXPECT_EQ(table->stats().num_counted, 1000);
}

TEST(AdmissionTest, ASketchAdmitsEarlyAtTimesNeverLate) {
  constexpr int64_t kNumIds = 20000;
  const auto table = MakeTable(Config(Sketch(3, 8 * kNumIds)));
  int64_t num_early = 0;
  for (int occurrence = 1; occurrence <= 3; ++occurrence) {
    Occur(table.get(), Range(0, kNumIds));
    if (occurrence == 2) num_early = table->size();
  }
  EXPECT_EQ(table->size(), kNumIds);
  EXPECT_LT(num_early, kNumIds / 10);
  EXPECT_GT(table->stats().sketch_bytes, 7 * kNumIds);
  EXPECT_EQ(table->stats().num_counted, 0);
}

TEST(AdmissionTest, AnOccurrenceAdmitsWithTheProbability) {
  constexpr int64_t kNumIds = 40000;
  for (const int64_t count : {1, 10}) {
    const double expected = 1 - std::pow(1 - 0.05, count);
    const auto table = MakeTable(Config(Probability(0.05f)));
    Update update;
    update.ids = Range(0, kNumIds);
    update.counts.assign(kNumIds, count);
    ASSERT_TRUE(Apply(table.get(), update).ok());
    const double rate = static_cast<double>(table->size()) / kNumIds;
    EXPECT_NEAR(rate, expected,
                4 * std::sqrt(expected * (1 - expected) / kNumIds));
    // The next step draws anew, so that few stay out for long.
    update.global_step = 2;
    ASSERT_TRUE(Apply(table.get(), update).ok());
    const double after = 1 - (1 - expected) * (1 - expected);
    EXPECT_NEAR(static_cast<double>(table->size()) / kNumIds, after,
                4 * std::sqrt(after * (1 - after) / kNumIds));
  }
}

TEST(AdmissionTest, ChanceIsAFunctionOfTableIdAndStep) {
  const auto admitted = [](const std::string& name, int64_t step) {
    TableConfig config = Config(Probability(0.3f));
    config.name = name;
    const auto table = MakeTable(config);
    Update update;
    update.ids = Range(0, 1000);
    update.global_step = step;
    EXPECT_TRUE(Apply(table.get(), update).ok());
    std::set<int64_t> ids;
    for (const auto& [id, row] : Export(*table)) ids.insert(id);
    return ids;
  };
  EXPECT_EQ(admitted("movie", 1), admitted("movie", 1));
  EXPECT_NE(admitted("movie", 1), admitted("movie", 2));
  EXPECT_NE(admitted("movie", 1), admitted("user", 1));
}

// Tables that own the partitions of `from` give what they count to tables that
// own those of `to`, rows as well.
std::vector<std::unique_ptr<Table>> Reshard(
    const std::vector<std::unique_ptr<Table>>& from, size_t num_shards,
    const TableConfig& config) {
  std::vector<std::unique_ptr<Table>> to;
  for (size_t shard = 0; shard < num_shards; ++shard) {
    to.push_back(MakeTable(config));
    const auto is_owned = [=](int64_t id) {
      return OwnerOf(PartitionOf(id), num_shards) == static_cast<int>(shard);
    };
    for (const auto& table : from) {
      const auto groups = table->ExportFilter(0, kNumGroups);
      for (int group = 0; group < kNumGroups; ++group) {
        EXPECT_TRUE(
            to.back()->ImportFilter(group, groups[group], is_owned).ok());
      }
      for (const auto& [id, row] : Export(*table)) {
        if (!is_owned(id)) continue;
        EXPECT_TRUE(
            to.back()->Import(&id, &row.stamp, row.floats.data(), 1).ok());
      }
    }
  }
  return to;
}

TEST(AdmissionTest, CountsGoOnExactlyWhereOtherShardsLeftOff) {
  const TableConfig config = Config(Count(5, /*window_seconds=*/1000));
  std::vector<std::unique_ptr<Table>> shards;
  shards.push_back(MakeTable(config));
  std::map<int64_t, OccurrenceCounts> counts;
  std::set<int64_t> admitted;
  std::mt19937_64 random(9);
  int64_t time = 10000;
  for (const size_t num_shards : {1, 2, 3, 1}) {
    if (num_shards != shards.size()) {
      shards = Reshard(shards, num_shards, config);
    }
    for (int i = 0; i < 3000; ++i) {
      time += random() % 4 == 0;
      const int64_t id = random() % 800;
      const int64_t count = 1 + random() % 2;
      Table* const table = shards[OwnerOf(PartitionOf(id), num_shards)].get();
      ASSERT_TRUE(Apply(table, {{id}, 1, 1, 1, time, {count}}).ok());
      if (counts[id].Add(count, time / 500) >= 5) admitted.insert(id);
      ASSERT_EQ(Exists(*table, {id})[0], admitted.count(id) == 1) << id;
    }
    int64_t num_rows = 0;
    for (const auto& table : shards) num_rows += table->size();
    EXPECT_EQ(num_rows, static_cast<int64_t>(admitted.size()));
  }
}

TEST(AdmissionTest, ASketchIsNeverLateWhateverTheShards) {
  const TableConfig config = Config(Sketch(6, 1 << 15));
  std::vector<std::unique_ptr<Table>> shards;
  shards.push_back(MakeTable(config));
  std::map<int64_t, int64_t> counts;
  std::mt19937_64 random(10);
  for (const size_t num_shards : {1, 2, 3, 1}) {
    if (num_shards != shards.size()) {
      shards = Reshard(shards, num_shards, config);
    }
    int64_t num_early = 0;
    for (int i = 0; i < 2000; ++i) {
      const int64_t id = random() % 1500;
      Table* const table = shards[OwnerOf(PartitionOf(id), num_shards)].get();
      Occur(table, {id});
      const bool exists = Exists(*table, {id})[0];
      ASSERT_TRUE(exists || ++counts[id] < 6) << id;
      if (exists && counts[id] < 5) {
        ++num_early;
        counts[id] = 6;
      }
    }
    EXPECT_LT(num_early, 100);
  }
}

TEST(AdmissionTest, AFilterOfAnotherKindIsRefused) {
  const auto counting = MakeTable(Config(Count(3)));
  Occur(counting.get(), {5});
  const int group = GroupOf(5);
  const std::vector<int64_t> saved =
      counting->ExportFilter(group, group + 1)[0];
  EXPECT_EQ(saved, (std::vector<int64_t>{5, 1}));
  const auto everyone = [](int64_t) { return true; };
  for (const AdmissionConfig& admission :
       {AdmissionConfig(), Probability(0.5f), Sketch(3, 4096)}) {
    const auto other = MakeTable(Config(admission));
    ExpectError(other->ImportFilter(group, saved, everyone),
                absl::StatusCode::kInvalidArgument,
                {"Table 'movie': the saved filter", "saved with"});
    EXPECT_TRUE(other->ImportFilter(group, {}, everyone).ok());
  }
  const auto other = MakeTable(Config(Count(3)));
  ExpectError(other->ImportFilter((group + 1) % kNumGroups, saved, everyone),
              absl::StatusCode::kInvalidArgument, {"counts id 5 of group"});
  ExpectError(other->ImportFilter(kNumGroups, saved, everyone),
              absl::StatusCode::kInvalidArgument,
              {"must be of a group in [0, 64)", "Received: 64"});
  EXPECT_EQ(other->stats().num_counted, 0);
}

}  // namespace
}  // namespace monolith_tf
