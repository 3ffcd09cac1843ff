// Builders and matchers that the tests of the table core share.

#ifndef MONOLITH_TF_TESTS_CC_TEST_SUPPORT_H_
#define MONOLITH_TF_TESTS_CC_TEST_SUPPORT_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/table/table.h"

namespace monolith_tf {

inline TableConfig SgdConfig(int64_t dim, std::string name = "movie") {
  return TableConfig::OfOneSegment(std::move(name), dim, {"sgd", {}, {}},
                                   {"zeros", {}}, 0);
}

inline TableConfig AdagradConfig(int64_t dim, std::string name = "movie") {
  return TableConfig::OfOneSegment(std::move(name), dim,
                                   {"adagrad", {0.1f, 1e-7f}, {}},
                                   {"uniform", {-0.05f, 0.05f}}, 7);
}

inline TableConfig AdamConfig(int64_t dim, std::string name = "movie") {
  return TableConfig::OfOneSegment(std::move(name), dim,
                                   {"adam", {0.9f, 0.999f, 1e-7f}, {}},
                                   {"truncated_normal", {0.0f, 0.01f}}, 7);
}

inline std::unique_ptr<Table> MakeTable(const TableConfig& config) {
  auto table = Table::Create(config);
  EXPECT_TRUE(table.ok()) << table.status();
  return *std::move(table);
}

// A step on `ids` with one gradient value for all of a row's elements.
inline absl::Status Step(Table* table, const std::vector<int64_t>& ids,
                         const std::vector<float>& gradient_of_row,
                         float learning_rate, int64_t global_step = 1,
                         int64_t event_time = 0) {
  const std::vector<int64_t> counts(ids.size(), 1);
  std::vector<float> gradients;
  for (const float gradient : gradient_of_row) {
    gradients.insert(gradients.end(), table->dim(), gradient);
  }
  ApplyRequest request;
  request.ids = ids.data();
  request.counts = counts.data();
  request.gradients = gradients.data();
  request.n = static_cast<int64_t>(ids.size());
  request.global_step = global_step;
  request.event_time = event_time;
  const std::vector<float> learning_rates(table->num_segments(), learning_rate);
  request.learning_rates = learning_rates.data();
  return table->Apply(request);
}

// An update with one gradient value for all elements of all rows.
struct Update {
  std::vector<int64_t> ids;
  float gradient = 1.0f;
  float learning_rate = 1.0f;
  int64_t global_step = 1;
  int64_t event_time = 0;
  // One occurrence of each id where it is empty.
  std::vector<int64_t> counts = {};
};

inline absl::Status Apply(Table* table, const Update& update) {
  std::vector<int64_t> counts = update.counts;
  counts.resize(update.ids.size(), 1);
  const std::vector<float> gradients(update.ids.size() * table->dim(),
                                     update.gradient);
  const std::vector<float> rates(table->num_segments(), update.learning_rate);
  ApplyRequest request = {
      update.ids.data(),  counts.data(),
      gradients.data(),   static_cast<int64_t>(update.ids.size()),
      update.global_step, update.event_time,
      rates.data()};
  absl::Status status = table->Check(request);
  if (!status.ok()) return status;
  request.event_time = table->AcceptTime(request.event_time);
  const RunningUpdate running = table->BeginParts(request);
  status = table->ApplyPart(request, running, StripePart());
  table->EndUpdate(running);
  return status;
}

// first, first + 1 ... first + n - 1.
inline std::vector<int64_t> Range(int64_t first, int64_t n) {
  std::vector<int64_t> ids(n);
  for (int64_t i = 0; i < n; ++i) ids[i] = first + i;
  return ids;
}

struct SavedRow {
  std::vector<float> floats;
  int64_t stamp = 0;
};

// All rows by their ids; each must come once.
inline std::map<int64_t, SavedRow> Export(const Table& table) {
  std::vector<int64_t> ids, stamps;
  std::vector<float> rows;
  for (int64_t cursor = 0; cursor >= 0;) {
    cursor = table.ExportChunk(cursor, 1 << 20, &ids, &rows, &stamps);
  }
  std::map<int64_t, SavedRow> exported;
  const int64_t width = table.row_width();
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto begin = rows.begin() + i * width;
    const bool is_new =
        exported.insert({ids[i], {{begin, begin + width}, stamps[i]}}).second;
    EXPECT_TRUE(is_new) << "id " << ids[i] << " came twice";
  }
  return exported;
}

inline std::vector<float> Rows(const Table& table,
                               const std::vector<int64_t>& ids) {
  std::vector<float> rows(ids.size() * table.dim());
  table.Lookup(ids.data(), ids.size(), rows.data(), nullptr);
  return rows;
}

inline std::vector<bool> Exists(const Table& table,
                                const std::vector<int64_t>& ids) {
  std::vector<float> rows(ids.size() * table.dim());
  const std::unique_ptr<bool[]> exists(new bool[ids.size()]);
  table.Lookup(ids.data(), ids.size(), rows.data(), exists.get());
  return std::vector<bool>(exists.get(), exists.get() + ids.size());
}

inline void ExpectError(const absl::Status& status, absl::StatusCode code,
                        const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "no \"" << part << "\" in: " << status;
  }
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_TESTS_CC_TEST_SUPPORT_H_
