#include "ops/cc/table/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/initializer/pretrained_rows.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(TableTest, LookupOfUnseenIdReadsItsInitialRowAndInsertsNothing) {
  auto table = MakeTable(AdagradConfig(3));
  // The golden row of initializer_test.cc.
  EXPECT_EQ(
      Rows(*table, {42}),
      (std::vector<float>{0x1.aef5a4p-6f, 0x1.ef8da4p-6f, 0x1.60e7aap-5f}));
  EXPECT_EQ(Exists(*table, {42}), std::vector<bool>{false});
  EXPECT_EQ(table->size(), 0);
}

TEST(TableTest, ApplyInsertsTheInitialRowAndStepsIt) {
  auto table = MakeTable(SgdConfig(2));
  ASSERT_TRUE(Step(table.get(), {7, 9}, {1.0f, -2.0f}, 0.5f).ok());
  EXPECT_EQ(Rows(*table, {9, 8, 7}),
            (std::vector<float>{1.0f, 1.0f, 0.0f, 0.0f, -0.5f, -0.5f}));
  EXPECT_EQ(Exists(*table, {9, 8, 7}), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(table->size(), 2);
}

TEST(TableTest, AStepWithGradientZeroLeavesTheInitialRow) {
  auto table = MakeTable(AdamConfig(5));
  const std::vector<float> before = Rows(*table, {3, -3});
  ASSERT_TRUE(Step(table.get(), {3, -3}, {0.0f, 0.0f}, 0.5f).ok());
  EXPECT_EQ(Rows(*table, {3, -3}), before);
}

TEST(TableTest, ARepeatedIdIsSteppedInOrder) {
  auto table = MakeTable(SgdConfig(1));
  ASSERT_TRUE(Step(table.get(), {7, 7, 8, 7}, {1, 2, 4, 8}, 1.0f).ok());
  EXPECT_EQ(Rows(*table, {7, 8}), (std::vector<float>{-11.0f, -4.0f}));
  EXPECT_EQ(table->size(), 2);
}

TEST(TableTest, PartsAtOnceLeaveWhatOneApplyLeaves) {
  constexpr int kNumParts = 3;
  constexpr int64_t kNumIds = 20000;
  const auto whole = MakeTable(AdagradConfig(2));
  const auto parts = MakeTable(AdagradConfig(2));
  std::vector<int64_t> ids;
  std::vector<float> gradients;
  for (int64_t i = 0; i < kNumIds; ++i) {
    // Every id twice: the order of its steps shows.
    ids.push_back(i % (kNumIds / 2));
    gradients.insert(gradients.end(), 2, 0.001f * static_cast<float>(i % 997));
  }
  const std::vector<int64_t> counts(ids.size(), 1);
  ApplyRequest request;
  request.ids = ids.data();
  request.counts = counts.data();
  request.gradients = gradients.data();
  request.n = kNumIds;
  request.global_step = 1;
  const float rate = 0.5f;
  request.learning_rates = &rate;
  ASSERT_TRUE(whole->Apply(request).ok());
  const RunningUpdate update = parts->BeginParts(request);
  std::vector<std::thread> threads;
  for (int part = 0; part < kNumParts; ++part) {
    threads.emplace_back([&, part] {
      EXPECT_TRUE(parts->ApplyPart(request, update, {part, kNumParts}).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  parts->EndUpdate(update);
  EXPECT_EQ(parts->size(), kNumIds / 2);
  EXPECT_EQ(Rows(*parts, ids), Rows(*whole, ids));
}

TEST(TableTest, EveryInt64IsAnId) {
  const std::vector<int64_t> ids = {0, -1, kMin, kMax, kMin + 1, 1};
  auto table = MakeTable(SgdConfig(1));
  ASSERT_TRUE(Step(table.get(), ids, {1, 2, 3, 4, 5, 6}, 1.0f).ok());
  EXPECT_EQ(Rows(*table, ids), (std::vector<float>{-1, -2, -3, -4, -5, -6}));
  EXPECT_EQ(table->Remove(ids.data(), 3), 3);
  EXPECT_EQ(Exists(*table, ids),
            (std::vector<bool>{false, false, false, true, true, true}));
}

TEST(TableTest, RowWidthCountsTheSlots) {
  EXPECT_EQ(MakeTable(SgdConfig(4))->row_width(), 4);
  EXPECT_EQ(MakeTable(AdagradConfig(4))->row_width(), 8);
  EXPECT_EQ(MakeTable(AdamConfig(4))->row_width(), 12);
}

TEST(TableTest, AssignSetsWeightsAndKeepsSlots) {
  auto table = MakeTable(AdagradConfig(1));
  ASSERT_TRUE(Step(table.get(), {1}, {3.0f}, 0.5f).ok());
  const int64_t ids[] = {1, 2};
  const float rows[] = {10.0f, 20.0f};
  ASSERT_TRUE(table->Assign(ids, rows, 2, 0).ok());
  EXPECT_EQ(Rows(*table, {1, 2}), (std::vector<float>{10.0f, 20.0f}));
  std::vector<int64_t> out_ids;
  std::vector<float> out_rows;
  ASSERT_EQ(table->ExportChunk(0, 10, &out_ids, &out_rows, nullptr), -1);
  const int first = out_ids[0] == 1 ? 0 : 1;
  EXPECT_FLOAT_EQ(out_rows[2 * first + 1], 9.1f);
  EXPECT_FLOAT_EQ(out_rows[2 * (1 - first) + 1], 0.1f);
}

TEST(TableTest, RemoveCountsTheRowsThatExistedAndForgetsThem) {
  auto table = MakeTable(AdagradConfig(2));
  ASSERT_TRUE(Step(table.get(), {1, 2, 3}, {1, 1, 1}, 0.5f).ok());
  const std::vector<float> initial = Rows(*MakeTable(AdagradConfig(2)), {2});
  const int64_t ids[] = {2, 2, 5};
  EXPECT_EQ(table->Remove(ids, 3), 1);
  EXPECT_EQ(table->size(), 2);
  EXPECT_EQ(Rows(*table, {2}), initial);
}

TEST(TableTest, ClearEmptiesTheTableAndGivesMemoryBack) {
  auto table = MakeTable(SgdConfig(16));
  const int64_t empty_bytes = table->memory_bytes();
  std::vector<int64_t> ids(50000);
  for (int i = 0; i < 50000; ++i) ids[i] = i * 31;
  ASSERT_TRUE(
      Step(table.get(), ids, std::vector<float>(50000, 1.0f), 1.0f).ok());
  EXPECT_GE(table->memory_bytes(), 50000 * 80);
  table->Clear();
  EXPECT_EQ(table->size(), 0);
  EXPECT_EQ(table->memory_bytes(), empty_bytes);
  EXPECT_EQ(Exists(*table, {31}), std::vector<bool>{false});
  ASSERT_TRUE(Step(table.get(), {31}, {1.0f}, 1.0f).ok());
  EXPECT_EQ(table->size(), 1);
}

TEST(TableTest, MemoryForAnInitialCapacityIsThereAndStays) {
  constexpr int64_t kRows = 100000;
  TableConfig config = AdagradConfig(16);
  config.initial_capacity = kRows;
  const auto table = MakeTable(config);
  const auto other = MakeTable(AdagradConfig(16));
  const int64_t bytes = table->memory_bytes();
  const int64_t capacity = table->stats().index_capacity;
  EXPECT_GE(bytes, kRows * (144 + 7));
  EXPECT_LE(bytes, kRows * (144 + 11) * 5 / 4 + (4 << 20));
  std::vector<int64_t> ids(kRows);
  for (int64_t i = 0; i < kRows; ++i) ids[i] = i * 31;
  const std::vector<float> gradients(kRows, 1.0f);
  ASSERT_TRUE(Step(table.get(), ids, gradients, 1.0f).ok());
  ASSERT_TRUE(Step(other.get(), ids, gradients, 1.0f).ok());
  EXPECT_EQ(Rows(*table, ids), Rows(*other, ids));
  EXPECT_EQ(table->stats().index_capacity, capacity);
  // Small segments and the bits that say which records are used are made on
  // the way.
  EXPECT_LE(table->memory_bytes(), bytes + bytes / 8);
  EXPECT_EQ(table->Remove(ids.data(), kRows), kRows);
  table->Sweep(0);
  EXPECT_GE(table->memory_bytes(), kRows * (144 + 7));
  table->Clear();
  EXPECT_GE(table->memory_bytes(), kRows * (144 + 7));
  EXPECT_EQ(table->stats().index_capacity, capacity);
  ASSERT_TRUE(Step(table.get(), ids, gradients, 1.0f).ok());
  EXPECT_EQ(Rows(*table, ids), Rows(*other, ids));
}

TEST(TableTest, AnInitialCapacityThatNoMemoryIsThereForIsRefused) {
  TableConfig config = AdagradConfig(1024);
  config.initial_capacity = int64_t{1} << 36;
  EXPECT_EQ(Table::Create(config).status().code(),
            absl::StatusCode::kResourceExhausted);
  for (const int64_t capacity : {int64_t{-1}, (int64_t{1} << 36) + 1}) {
    config.initial_capacity = capacity;
    EXPECT_EQ(Table::Create(config).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  config.initial_capacity = 1;
  EXPECT_EQ(MakeTable(config)->size(), 0);
}

TEST(TableTest, AnIterationReturnsEachRowOnceWithSlotsAndTime) {
  auto table = MakeTable(AdagradConfig(2));
  std::vector<int64_t> ids(1000);
  for (int i = 0; i < 1000; ++i) ids[i] = i - 500;
  ASSERT_TRUE(Step(table.get(), ids, std::vector<float>(1000, 1.0f), 0.5f,
                   /*global_step=*/1, /*event_time=*/1234)
                  .ok());
  std::set<int64_t> seen;
  std::vector<int64_t> out_ids, times;
  std::vector<float> rows;
  for (int64_t cursor = 0; cursor >= 0;) {
    out_ids.clear();
    rows.clear();
    times.clear();
    cursor = table->ExportChunk(cursor, 7, &out_ids, &rows, &times);
    ASSERT_LE(out_ids.size(), 7u);
    ASSERT_EQ(rows.size(), out_ids.size() * 4);
    ASSERT_EQ(times.size(), out_ids.size());
    const std::vector<float> weights = Rows(*table, out_ids);
    for (size_t i = 0; i < out_ids.size(); ++i) {
      ASSERT_TRUE(seen.insert(out_ids[i]).second);
      ASSERT_EQ(times[i], 1234);
      ASSERT_EQ(rows[4 * i], weights[2 * i]);
      ASSERT_EQ(rows[4 * i + 1], weights[2 * i + 1]);
      ASSERT_FLOAT_EQ(rows[4 * i + 2], 1.1f);
    }
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(TableTest, AnIterationFromAWrongCursorEnds) {
  auto table = MakeTable(SgdConfig(1));
  EXPECT_EQ(table->ExportChunk(-1, 7, nullptr, nullptr, nullptr), -1);
  EXPECT_EQ(table->ExportChunk(int64_t{64} << 32, 7, nullptr, nullptr, nullptr),
            -1);
}

TEST(TableTest, ALaterTimeStaysWhenAnEarlierEventArrives) {
  auto table = MakeTable(SgdConfig(1));
  ASSERT_TRUE(Step(table.get(), {1}, {1.0f}, 1.0f, 1, 500).ok());
  ASSERT_TRUE(Step(table.get(), {1}, {1.0f}, 1.0f, 2, 400).ok());
  std::vector<int64_t> times;
  table->ExportChunk(0, 7, nullptr, nullptr, &times);
  EXPECT_EQ(times, std::vector<int64_t>{500});
}

TEST(TableTest, RowsThatWereSavedWithoutTimesAreStampedWithTheClock) {
  TableConfig config = SgdConfig(1);
  config.tracks_changes = false;
  const auto saved = MakeTable(config);
  ASSERT_TRUE(Apply(saved.get(), {Range(0, 50), 1, 1, 1, 5000}).ok());
  config.tracks_changes = true;
  config.eviction.ttl_seconds = 100;
  const auto table = MakeTable(config);
  ASSERT_TRUE(table->SetClock(saved->clock()).ok());
  for (const auto& [id, row] : Export(*saved)) {
    EXPECT_EQ(row.stamp, 0);
    ASSERT_TRUE(table->Import(&id, &row.stamp, row.floats.data(), 1).ok());
  }
  table->Sweep(5000);
  EXPECT_EQ(table->size(), 50);
  EXPECT_EQ(Export(*table)[7].stamp, 5000);
  // Their ttl runs from there.
  EXPECT_EQ(table->Sweep(5100), 0);
  EXPECT_EQ(table->Sweep(5101), 50);
}

TEST(TableTest, ExportedGroupsAreImportedExactly) {
  auto table = MakeTable(AdamConfig(3));
  std::vector<int64_t> ids(3000);
  for (int i = 0; i < 3000; ++i) ids[i] = i * i - 1000;
  for (int step = 1; step <= 3; ++step) {
    ASSERT_TRUE(Step(table.get(), ids, std::vector<float>(3000, 0.3f * step),
                     0.1f, step, 10 + step)
                    .ok());
  }
  auto copy = MakeTable(AdamConfig(3));
  ASSERT_TRUE(Step(copy.get(), {-1000}, {5.0f}, 1.0f, 1, 4000).ok());
  int64_t total = 0;
  for (const auto& [first, last] : {std::pair{0, 20}, {20, 64}}) {
    std::vector<int64_t> counts, out_ids, times;
    std::vector<float> rows;
    table->ExportGroups(first, last, &counts, &out_ids, &times, &rows);
    ASSERT_EQ(counts.size(), static_cast<size_t>(last - first));
    ASSERT_EQ(rows.size(), out_ids.size() * 9);
    size_t i = 0;
    for (int group = first; group < last; ++group) {
      for (int64_t k = 0; k < counts[group - first]; ++k, ++i) {
        ASSERT_EQ(GroupOf(out_ids[i]), group);
        ASSERT_EQ(times[i], 13);
        if (k > 0) {
          ASSERT_LT(out_ids[i - 1], out_ids[i]);
        }
      }
    }
    ASSERT_EQ(i, out_ids.size());
    total += static_cast<int64_t>(i);
    ASSERT_TRUE(
        copy->Import(out_ids.data(), times.data(), rows.data(), i).ok());
  }
  EXPECT_EQ(total, table->size());
  EXPECT_EQ(copy->size(), table->size());
  // Slots too: the next step has equal results.
  for (Table* each : {table.get(), copy.get()}) {
    ASSERT_TRUE(
        Step(each, ids, std::vector<float>(3000, -1.0f), 0.1f, 4, 20).ok());
  }
  EXPECT_EQ(Rows(*copy, ids), Rows(*table, ids));
}

TEST(TableTest, RowsThatAreWrittenPastTheCachesAreTheSame) {
  // Of whole lines or not, from where a line starts on or not.
  for (const int64_t dim : {3, 16, 24, 48}) {
    const auto table = MakeTable(AdagradConfig(dim));
    std::vector<int64_t> ids(1000);
    std::iota(ids.begin(), ids.end(), -500);
    ASSERT_TRUE(Step(table.get(), {ids.begin(), ids.begin() + 700},
                     std::vector<float>(700, 1.0f), 0.1f)
                    .ok());
    std::vector<float> expected(ids.size() * dim);
    table->Lookup(ids.data(), ids.size(), expected.data(), nullptr);
    for (const int64_t offset : {0, 1, 4}) {
      constexpr int64_t kLine = 16;
      std::vector<float> buffer(ids.size() * dim + 2 * kLine, -1.0f);
      void* begin = buffer.data();
      size_t bytes = buffer.size() * sizeof(float);
      float* const rows =
          static_cast<float*>(std::align(64, 4, begin, bytes)) + offset;
      const auto exists = std::make_unique<bool[]>(ids.size());
      table->Lookup(ids.data(), ids.size(), rows, exists.get(),
                    /*is_large=*/true);
      EXPECT_EQ(std::vector<float>(rows, rows + expected.size()), expected)
          << "dim " << dim << ", offset " << offset;
      EXPECT_EQ(rows[expected.size()], -1.0f);
      EXPECT_EQ(std::count(exists.get(), exists.get() + ids.size(), true), 700);
    }
  }
}

TEST(TableTest, TheExampleOfTheHeaderStepsTwoRows) {
  const TableConfig config = TableConfig::OfOneSegment(
      "movie", /*dim=*/2, {"sgd", {}, {}}, {"zeros", {}}, /*seed=*/7);
  const auto table = Table::Create(config);
  ASSERT_TRUE(table.ok());
  const int64_t ids[] = {3, -1};
  const int64_t counts[] = {1, 1};
  const float gradients[] = {1, 2, 3, 4};
  const float learning_rate = 0.5f;
  ApplyRequest request;
  request.ids = ids;
  request.counts = counts;
  request.gradients = gradients;
  request.n = 2;
  request.global_step = 1;
  request.learning_rates = &learning_rate;
  ASSERT_TRUE((*table)->Apply(request).ok());
  float rows[4];
  bool exists[2];
  (*table)->Lookup(ids, 2, rows, exists);
  EXPECT_EQ(std::vector<float>(rows, rows + 4),
            (std::vector<float>{-0.5, -1, -1.5, -2}));
  EXPECT_TRUE(exists[0] && exists[1]);
}

TEST(TableTest, PretrainedRowsOfNoSegmentAreRefused) {
  auto table = MakeTable(SgdConfig(2));
  for (const int segment : {-1, 0, 1}) {
    const int64_t id = 5;
    const float row[] = {1, 2, 3};
    auto rows = PretrainedRows::Create(&id, row, 1, /*dim=*/3);
    ASSERT_TRUE(rows.ok());
    ExpectError(
        table->SetPretrained(segment, *std::move(rows)),
        absl::StatusCode::kInvalidArgument,
        {"Table 'movie': pretrained rows must be for a segment in [0, 1",
         segment == 0 ? "of its dim 2" : "",
         "Received: segment " + std::to_string(segment), "rows of dim 3"});
  }
}

TEST(TableTest, ABatchOfNothingIsFine) {
  auto table = MakeTable(SgdConfig(2));
  EXPECT_TRUE(Step(table.get(), {}, {}, 0.5f).ok());
  EXPECT_TRUE(table->Assign(nullptr, nullptr, 0, 0).ok());
  EXPECT_TRUE(table->Import(nullptr, nullptr, nullptr, 0).ok());
  EXPECT_EQ(table->Remove(nullptr, 0), 0);
  table->Lookup(nullptr, 0, nullptr, nullptr);
}

TEST(TableTest, ABadApplyIsRefusedBeforeTheFirstRowChanges) {
  auto table = MakeTable(SgdConfig(1));
  const auto code = absl::StatusCode::kInvalidArgument;
  ExpectError(Step(table.get(), {1}, {1.0f}, std::nanf("")), code,
              {"Table 'movie'", "learning_rate must be finite", "nan"});
  ExpectError(Step(table.get(), {1}, {1.0f}, INFINITY), code, {"inf"});
  ExpectError(Step(table.get(), {1}, {1.0f}, 0.1f, 0), code,
              {"global_step must be >= 1", "Received: 0"});
  ExpectError(Step(table.get(), {1}, {1.0f}, 0.1f, 1, -1), code,
              {"event_time", "Received: -1"});
  ExpectError(Step(table.get(), {1}, {1.0f}, 0.1f, 1, int64_t{1} << 32), code,
              {"event_time", "4294967295"});
  const int64_t ids[] = {5, 6};
  const int64_t counts[] = {1, 0};
  const float gradients[] = {1.0f, 1.0f};
  const float rate = 0.1f;
  ExpectError(table->Apply({ids, counts, gradients, 2, 1, 0, &rate, false}),
              code,
              {"counts must be >= 1", "Received: 0 for id 6 at position 1"});
  ExpectError(table->Apply({ids, counts, gradients, -1, 1, 0, &rate, false}),
              code, {"n >= 0", "n = -1"});
  ExpectError(table->Apply({ids, nullptr, gradients, 2, 1, 0, &rate, false}),
              code, {"null"});
  EXPECT_EQ(table->size(), 0);
}

TEST(TableTest, ABadImportIsRefusedBeforeTheFirstRowChanges) {
  auto table = MakeTable(SgdConfig(1));
  const int64_t ids[] = {5, 6};
  const int64_t times[] = {1, -7};
  const float rows[] = {1.0f, 1.0f};
  ExpectError(
      table->Import(ids, times, rows, 2), absl::StatusCode::kInvalidArgument,
      {"time of the last update", "Received: -7 for id 6 at position 1"});
  EXPECT_EQ(table->size(), 0);
}

TEST(TableTest, ABadConfigMakesNoTable) {
  ExpectError(Table::Create(SgdConfig(0)).status(),
              absl::StatusCode::kInvalidArgument,
              {"Table 'movie': dim must be"});
}

TEST(TableTest, ChangesAreLoggedOnceACutFromTheStartOfTracking) {
  auto table = MakeTable(SgdConfig(1));
  ASSERT_TRUE(Step(table.get(), {1, 2}, {1, 1}, 1.0f).ok());
  table->StartTracking(1);
  std::vector<int64_t> touched;
  ASSERT_TRUE(Step(table.get(), {2, 3}, {1, 1}, 1.0f).ok());
  ASSERT_TRUE(Step(table.get(), {2, 3}, {1, 1}, 1.0f).ok());
  table->SwapTouched(2, &touched);
  EXPECT_EQ(std::multiset<int64_t>(touched.begin(), touched.end()),
            (std::multiset<int64_t>{2, 3}));
  touched.clear();
  const int64_t removed = 1;
  table->Remove(&removed, 1);
  ASSERT_TRUE(Step(table.get(), {3}, {1}, 1.0f).ok());
  table->SwapTouched(3, &touched);
  EXPECT_EQ(std::multiset<int64_t>(touched.begin(), touched.end()),
            (std::multiset<int64_t>{1, 3}));
  bool exists[2];
  std::vector<float> rows;
  table->ReadDelta({1, 3}, exists, &rows);
  EXPECT_FALSE(exists[0]);
  EXPECT_TRUE(exists[1]);
  EXPECT_EQ(rows, std::vector<float>{-3.0f});
}

}  // namespace
}  // namespace monolith_tf
