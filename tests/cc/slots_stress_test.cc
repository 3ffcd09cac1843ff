// Rows with slots that threads step at once while others read them: whatever is
// seen of a row, weights and slots, is what some number of whole updates made.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ops/cc/hash/partition.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_set.h"
#include "tests/cc/test_support.h"
#include "tests/cc/workers.h"

namespace monolith_tf {
namespace {

constexpr int64_t kDim = 20;
// Weights of 16 and 8 bits are whole numbers up to here: nothing is rounded.
constexpr int64_t kMaxUpdates = 120;
constexpr int kNumThreads = 3;

struct Kind {
  const char* name;
  OptimizerConfig optimizer;
  PrecisionConfig precision;
};

TableConfig ConfigOf(const Kind& kind) {
  TableConfig config = SgdConfig(kDim);
  config.segments[0].optimizer = kind.optimizer;
  config.segments[0].precision = kind.precision;
  return config;
}

// What a row is after one update, two, three ... Every update is the same, so a
// row is one of these, bit by bit, and its slots tell which.
class States {
 public:
  explicit States(const Kind& kind) {
    const auto table = MakeTable(ConfigOf(kind));
    values_.insert(Rows(*table, {0}));
    for (int64_t k = 1; k <= kMaxUpdates; ++k) {
      EXPECT_TRUE(Apply(table.get(), {{0}, -1.0f}).ok());
      ordered_.push_back(Export(*table).at(0).floats);
      values_.insert(Rows(*table, {0}));
    }
    rows_.insert(ordered_.begin(), ordered_.end());
    EXPECT_EQ(static_cast<int64_t>(rows_.size()), kMaxUpdates);
    EXPECT_GT(table->row_width(), kDim) << "no slots";
  }

  const std::vector<float>& After(int64_t num_updates) const {
    return ordered_[num_updates - 1];
  }
  bool HasRow(const float* row, int64_t width) const {
    return rows_.count(std::vector<float>(row, row + width)) > 0;
  }
  // Of what lookups read, of rows that are not there too.
  bool HasValues(const float* values) const {
    return values_.count(std::vector<float>(values, values + kDim)) > 0;
  }

 private:
  std::vector<std::vector<float>> ordered_;
  std::set<std::vector<float>> rows_;
  std::set<std::vector<float>> values_;
};

class SlotsStressTest : public ::testing::TestWithParam<Kind> {
 protected:
  SlotsStressTest() : states_(GetParam()), tables_("model", 0, 1, 1) {}

  void MakeTableOf(const TableConfig& config) {
    ASSERT_TRUE(tables_.CreateTable(config).ok());
    table_ = *tables_.Find("movie");
    ASSERT_TRUE(tables_.StartDeltas().ok());
  }

  void Occur(const std::vector<int64_t>& ids, int64_t time = 0) {
    Update update;
    update.ids = ids;
    update.gradient = -1.0f;
    update.event_time = time;
    ASSERT_TRUE(Apply(table_.get(), update).ok());
  }

  void LookUp(std::mt19937_64* random, int64_t num_ids) {
    std::vector<int64_t> ids(300);
    for (int64_t& id : ids) id = (*random)() % num_ids;
    const std::vector<float> rows = Rows(*table_, ids);
    for (size_t i = 0; i < ids.size(); ++i) {
      num_torn_ += !states_.HasValues(&rows[i * kDim]);
    }
  }

  void Iterate(std::mt19937_64* random) {
    std::vector<int64_t> ids, stamps, group_counts;
    std::vector<float> rows;
    for (int64_t cursor = 0; cursor >= 0;) {
      cursor = table_->ExportChunk(cursor, 100 + (*random)() % 2000, &ids,
                                   &rows, &stamps);
    }
    CheckRows(rows);
    table_->ExportGroups(0, kNumGroups, &group_counts, &ids, &stamps, &rows);
    CheckRows(rows);
  }

  void CheckRows(const std::vector<float>& rows) {
    const int64_t width = table_->row_width();
    const auto size = static_cast<int64_t>(rows.size());
    for (int64_t begin = 0; begin < size; begin += width) {
      num_torn_ += !states_.HasRow(&rows[begin], width);
      ++num_rows_read_;
    }
  }

  void TakeDelta() {
    auto delta = tables_.TakeDelta(tables_.cut());
    ASSERT_TRUE(delta.ok()) << delta.status();
    const std::vector<float>& rows = delta->tables[0].rows;
    for (size_t begin = 0; begin < rows.size(); begin += kDim) {
      num_torn_ += !states_.HasValues(&rows[begin]);
    }
  }

  // Those who read while others update.
  std::vector<Worker> Readers(int64_t num_ids) {
    return {
        {[=](std::mt19937_64* random) { LookUp(random, num_ids); }, true},
        {[=](std::mt19937_64* random) { Iterate(random); }, true},
        {[=](std::mt19937_64*) { TakeDelta(); }, true},
    };
  }

  void ExpectAllWhole() {
    EXPECT_EQ(num_torn_, 0);
    EXPECT_GT(num_rows_read_, 0);
  }

  const States states_;
  TableSet tables_;
  std::shared_ptr<Table> table_;
  std::atomic<int64_t> num_torn_{0};
  std::atomic<int64_t> num_rows_read_{0};
};

TEST_P(SlotsStressTest, RowsAreOfWholeUpdatesAndNoneIsLost) {
  constexpr int64_t kNumIds = 2000;
  constexpr int64_t kUpdatesOfAThread = 10;
  MakeTableOf(ConfigOf(GetParam()));
  std::vector<Worker> workers = Readers(kNumIds);
  for (int thread = 0; thread < kNumThreads; ++thread) {
    workers.push_back({[=](std::mt19937_64* random) {
                         std::vector<int64_t> ids = Range(0, kNumIds);
                         for (int k = 0; k < kUpdatesOfAThread; ++k) {
                           std::shuffle(ids.begin(), ids.end(), *random);
                           for (int64_t i = 0; i < kNumIds; i += 250) {
                             Occur({ids.begin() + i, ids.begin() + i + 250});
                           }
                         }
                       },
                       false});
  }
  RunTogether(workers);
  ExpectAllWhole();
  const auto rows = Export(*table_);
  ASSERT_EQ(static_cast<int64_t>(rows.size()), kNumIds);
  for (const auto& [id, row] : rows) {
    ASSERT_EQ(row.floats, states_.After(kNumThreads * kUpdatesOfAThread)) << id;
  }
}

// Rows are taken while others come into their places, and come again.
TEST_P(SlotsStressTest, RowsUpAgainstACapAreOfWholeUpdates) {
  constexpr int64_t kCap = 1500;
  constexpr int64_t kNumIds = 3 * kCap;
  constexpr int kRounds = 40;
  static_assert(kNumThreads * kRounds <= kMaxUpdates);
  for (const char* const policy : {"lru", "lfu", "lowest_norm"}) {
    TableConfig config = ConfigOf(GetParam());
    config.eviction.max_rows = kCap;
    config.eviction.policy = policy;
    if (table_ != nullptr) {
      ASSERT_TRUE(tables_.DropTable("movie").ok());
    }
    MakeTableOf(config);
    std::vector<Worker> workers = Readers(kNumIds);
    for (int thread = 0; thread < kNumThreads; ++thread) {
      workers.push_back({[=](std::mt19937_64* random) {
                           for (int round = 0; round < kRounds; ++round) {
                             const auto ids =
                                 Range((*random)() % (kNumIds - 300), 300);
                             Occur(ids, 1000 + round);
                             if (round % 8 == 7)
                               table_->Remove(ids.data(), ids.size() / 2);
                           }
                         },
                         false});
    }
    workers.push_back({[=](std::mt19937_64*) { table_->Sweep(0); }, true});
    RunTogether(workers);
    ExpectAllWhole();
    table_->Sweep(0);
    EXPECT_LE(table_->size(), kCap);
    std::mt19937_64 random(1);
    Iterate(&random);
    ExpectAllWhole();
    EXPECT_GT(table_->stats().num_capped, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, SlotsStressTest,
    ::testing::Values(
        Kind{"adagrad", {"adagrad", {0.1f, 1e-7f}}, {"float32", {}}},
        Kind{"adam", {"adam", {0.9f, 0.999f, 1e-7f}}, {"float32", {}}},
        // The slot is the row before its last update.
        Kind{"bfloat16", {"delay_compensated_sgd", {0.0f}}, {"bfloat16", {}}},
        Kind{"float16", {"delay_compensated_sgd", {0.0f}}, {"float16", {}}},
        Kind{"int8", {"delay_compensated_sgd", {0.0f}}, {"int8", {127.0f}}}),
    [](const ::testing::TestParamInfo<Kind>& info) { return info.param.name; });

}  // namespace
}  // namespace monolith_tf
