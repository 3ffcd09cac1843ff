// Random operations on a table against a standard map with optimizers written
// out once more, in the plainest way.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "ops/cc/hash/hash.h"
#include "ops/cc/initializer/initializer.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_set.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

struct OracleRow {
  std::vector<float> values;  // weights, then slots
  int64_t time = 0;
};

class Oracle {
 public:
  explicit Oracle(const TableConfig& config)
      : config_(config),
        initializer_(*MakeInitializer(config.segments[0].initializer)),
        num_slots_(config.segments[0].optimizer.kind == "sgd"       ? 0
                   : config.segments[0].optimizer.kind == "adagrad" ? 1
                                                                    : 2) {}

  std::vector<float> Initial(int64_t id) const {
    std::vector<float> weights(config_.dim());
    initializer_->Fill(IdKey(TableKey(config_.seed, config_.name), id), 0,
                       config_.dim(), weights.data());
    return weights;
  }

  OracleRow& RowOf(int64_t id) {
    auto [found, is_new] = rows.try_emplace(id);
    if (is_new) {
      found->second.values = Initial(id);
      const float slot = num_slots_ == 1
                             ? config_.segments[0].optimizer.hyperparameters[0]
                             : 0.0f;
      found->second.values.resize(config_.dim() * (1 + num_slots_), slot);
    }
    return found->second;
  }

  void Step(int64_t id, const float* gradient, float rate, int64_t t,
            int64_t time) {
    OracleRow& row = RowOf(id);
    row.time = std::max(row.time, time);
    const int64_t dim = config_.dim();
    for (int64_t j = 0; j < dim; ++j) {
      float* v = row.values.data() + j;
      const float g = gradient[j];
      if (num_slots_ == 0) {
        v[0] -= rate * g;
      } else if (num_slots_ == 1) {
        v[dim] += g * g;
        v[0] -= rate * g /
                std::sqrt(v[dim] +
                          config_.segments[0].optimizer.hyperparameters[1]);
      } else {
        const float alpha = rate *
                            std::sqrt(1.0f - std::pow(0.999f, float(t))) /
                            (1.0f - std::pow(0.9f, float(t)));
        v[dim] += (g - v[dim]) * 0.1f;
        v[2 * dim] += (g * g - v[2 * dim]) * 0.001f;
        v[0] -= v[dim] * alpha /
                (std::sqrt(v[2 * dim]) +
                 config_.segments[0].optimizer.hyperparameters[2]);
      }
    }
  }

  std::unordered_map<int64_t, OracleRow> rows;

 private:
  const TableConfig config_;
  std::unique_ptr<const Initializer> initializer_;
  const int num_slots_;
};

class TableOracleTest : public ::testing::TestWithParam<TableConfig> {
 protected:
  TableOracleTest() : tables_("model", 0, 1, 1), oracle_(GetParam()) {
    EXPECT_TRUE(tables_.CreateTable(GetParam()).ok());
    table_ = *tables_.Find(GetParam().name);
  }

  int64_t RandomId() {
    // Many ids that come again, some far away, some at the ends.
    switch (random_() % 8) {
      case 0:
        return static_cast<int64_t>(random_());
      case 1:
        return std::numeric_limits<int64_t>::min() + random_() % 3;
      case 2:
        return std::numeric_limits<int64_t>::max() - random_() % 3;
      default:
        return static_cast<int64_t>(random_() % 3000) - 1500;
    }
  }

  std::vector<int64_t> RandomIds() {
    std::vector<int64_t> ids(random_() % 8 == 0 ? random_() % 9000
                                                : random_() % 50);
    for (int64_t& id : ids) id = RandomId();
    return ids;
  }

  std::vector<float> RandomFloats(size_t n) {
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    std::vector<float> values(n);
    for (float& value : values) value = uniform(random_);
    return values;
  }

  void Apply() {
    const std::vector<int64_t> ids = RandomIds();
    const std::vector<int64_t> counts(ids.size(), 1 + random_() % 5);
    const std::vector<float> gradients = RandomFloats(ids.size() * dim());
    ++step_;
    const int64_t time = random_() % 1000;
    const float rate = 0.05f;
    ASSERT_TRUE(table_
                    ->Apply({ids.data(), counts.data(), gradients.data(),
                             static_cast<int64_t>(ids.size()), step_, time,
                             &rate, false})
                    .ok());
    for (size_t i = 0; i < ids.size(); ++i) {
      oracle_.Step(ids[i], gradients.data() + i * dim(), 0.05f, step_, time);
    }
  }

  void Lookup() {
    const std::vector<int64_t> ids = RandomIds();
    const std::vector<float> rows = Rows(*table_, ids);
    const std::vector<bool> exists = Exists(*table_, ids);
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto found = oracle_.rows.find(ids[i]);
      ASSERT_EQ(exists[i], found != oracle_.rows.end());
      const std::vector<float> expected =
          exists[i] ? found->second.values : oracle_.Initial(ids[i]);
      for (int64_t j = 0; j < dim(); ++j) {
        ASSERT_EQ(rows[i * dim() + j], expected[j]) << "id " << ids[i];
      }
    }
  }

  void Assign() {
    const std::vector<int64_t> ids = RandomIds();
    const std::vector<float> rows = RandomFloats(ids.size() * dim());
    ASSERT_TRUE(table_->Assign(ids.data(), rows.data(), ids.size(), 0).ok());
    for (size_t i = 0; i < ids.size(); ++i) {
      std::copy_n(rows.data() + i * dim(), dim(),
                  oracle_.RowOf(ids[i]).values.data());
    }
  }

  void Import() {
    const std::vector<int64_t> ids = RandomIds();
    const std::vector<float> rows =
        RandomFloats(ids.size() * table_->row_width());
    // Slots of Adam must not be negative.
    std::vector<float> valid = rows;
    for (float& value : valid) value = std::abs(value);
    const std::vector<int64_t> times(ids.size(), 77);
    ASSERT_TRUE(
        table_->Import(ids.data(), times.data(), valid.data(), ids.size())
            .ok());
    for (size_t i = 0; i < ids.size(); ++i) {
      OracleRow& row = oracle_.RowOf(ids[i]);
      row.time = 77;
      std::copy_n(valid.data() + i * table_->row_width(), table_->row_width(),
                  row.values.data());
    }
  }

  void Remove() {
    const std::vector<int64_t> ids = RandomIds();
    int64_t expected = 0;
    for (const int64_t id : ids) expected += oracle_.rows.erase(id);
    ASSERT_EQ(table_->Remove(ids.data(), ids.size()), expected);
  }

  void TakeDelta() {
    // Sometimes the last delta was lost.
    const int64_t acked = random_() % 3 == 0 ? last_acked_ : tables_.cut();
    if (acked != last_acked_) {
      last_acked_ = acked;
    }
    auto delta = tables_.TakeDelta(acked);
    ASSERT_TRUE(delta.ok()) << delta.status();
    const TableDelta& changes = delta->tables[0];
    ASSERT_TRUE(std::is_sorted(changes.ids.begin(), changes.ids.end()));
    const float* row = changes.rows.data();
    for (size_t i = 0; i < changes.ids.size(); ++i) {
      if (changes.exists[i]) {
        replica_[changes.ids[i]] = std::vector<float>(row, row + dim());
        row += dim();
      } else {
        replica_.erase(changes.ids[i]);
      }
    }
    ASSERT_EQ(replica_.size(), oracle_.rows.size());
    for (const auto& [id, oracle_row] : oracle_.rows) {
      const auto found = replica_.find(id);
      ASSERT_NE(found, replica_.end());
      ASSERT_TRUE(std::equal(found->second.begin(), found->second.end(),
                             oracle_row.values.begin()));
    }
  }

  void CheckAll() {
    ASSERT_EQ(table_->size(), static_cast<int64_t>(oracle_.rows.size()));
    size_t num_seen = 0;
    for (int64_t cursor = 0; cursor >= 0;) {
      std::vector<int64_t> ids, times;
      std::vector<float> rows;
      cursor = table_->ExportChunk(cursor, 1 + random_() % 1000, &ids, &rows,
                                   &times);
      for (size_t i = 0; i < ids.size(); ++i, ++num_seen) {
        const auto found = oracle_.rows.find(ids[i]);
        ASSERT_NE(found, oracle_.rows.end());
        ASSERT_EQ(times[i], found->second.time);
        for (int64_t j = 0; j < table_->row_width(); ++j) {
          ASSERT_EQ(rows[i * table_->row_width() + j], found->second.values[j]);
        }
      }
    }
    ASSERT_EQ(num_seen, oracle_.rows.size());
  }

  int64_t dim() const { return GetParam().dim(); }

  std::mt19937_64 random_{11};
  TableSet tables_;
  std::shared_ptr<Table> table_;
  Oracle oracle_;
  std::map<int64_t, std::vector<float>> replica_;
  int64_t step_ = 0;
  int64_t last_acked_ = 0;
};

TEST_P(TableOracleTest, RandomOperationsAgreeWithAStandardMap) {
  ASSERT_TRUE(tables_.StartDeltas().ok());
  for (int i = 0; i < 240 && !HasFatalFailure(); ++i) {
    switch (random_() % 16) {
      case 0:
        Import();
        break;
      case 1:
      case 2:
        Assign();
        break;
      case 3:
      case 4:
      case 5:
        Remove();
        break;
      case 6:
      case 7:
      case 8:
        Lookup();
        break;
      case 9:
        TakeDelta();
        break;
      default:
        Apply();
    }
    if (i % 80 == 79) CheckAll();
    if (i == 150) {
      table_->Clear();
      oracle_.rows.clear();
    }
  }
  if (!HasFatalFailure()) CheckAll();
}

INSTANTIATE_TEST_SUITE_P(Configs, TableOracleTest,
                         ::testing::Values(SgdConfig(1), AdagradConfig(3),
                                           AdagradConfig(16), AdamConfig(5),
                                           AdamConfig(100)),
                         [](const ::testing::TestParamInfo<TableConfig>& info) {
                           return info.param.segments[0].optimizer.kind +
                                  std::to_string(info.param.dim());
                         });

}  // namespace
}  // namespace monolith_tf
