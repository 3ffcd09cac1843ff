// Reading all rows on its own: stripes that hold rows, and no table.

#include "ops/cc/table/row_exporter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

class RowExporterTest : public ::testing::Test {
 protected:
  // A row of `id` whose weights are id and -id.
  void Insert(int64_t id) {
    const uint64_t hash = stripes_.hash()(id);
    Stripe* const stripe = stripes_.Of(hash);
    SpinLockHolder holder(stripe->lock());
    Row* const row = stripe->Insert(hash, id);
    ASSERT_NE(row, nullptr);
    const auto weight = static_cast<float>(id);
    const float weights[] = {weight, -weight};
    layout_.Initialize(row, weights);
    row->last_update = static_cast<uint32_t>(id);
    row->frequency = 3;
  }
  void Remove(int64_t id) {
    const uint64_t hash = stripes_.hash()(id);
    Stripe* const stripe = stripes_.Of(hash);
    SpinLockHolder holder(stripe->lock());
    EXPECT_TRUE(stripe->Remove(hash, id));
  }

  const RowLayout layout_{SgdConfig(2)};
  StripeSet stripes_{&layout_, KeyedHash(7, 11), RowArena::kMaxSlabBytes};
  const RowExporter exporter_{&layout_, &stripes_};
};

TEST_F(RowExporterTest, ChunksHoldEveryRowOnceWithWeightsAndStamps) {
  for (const int64_t id : Range(1, 5000)) Insert(id);
  for (const int64_t max_rows : {1, 7, 1000, 1 << 20}) {
    std::set<int64_t> seen;
    for (int64_t cursor = 0; cursor >= 0;) {
      std::vector<int64_t> ids, stamps;
      std::vector<float> rows;
      cursor = exporter_.ExportChunk(cursor, max_rows, &ids, &rows, &stamps);
      EXPECT_LE(static_cast<int64_t>(ids.size()), max_rows);
      ASSERT_EQ(rows.size(), 2 * ids.size());
      ASSERT_EQ(stamps.size(), ids.size());
      for (size_t i = 0; i < ids.size(); ++i) {
        EXPECT_TRUE(seen.insert(ids[i]).second);
        EXPECT_EQ(rows[2 * i], static_cast<float>(ids[i]));
        EXPECT_EQ(rows[2 * i + 1], -static_cast<float>(ids[i]));
        EXPECT_EQ(stamps[i], int64_t{3} << 32 | ids[i]);
      }
    }
    EXPECT_EQ(seen.size(), 5000u);
  }
}

TEST_F(RowExporterTest, AChunkAppendsAndMayLeaveOutputsOut) {
  Insert(4);
  std::vector<int64_t> ids = {9};
  EXPECT_EQ(exporter_.ExportChunk(0, 10, &ids, nullptr, nullptr), -1);
  EXPECT_EQ(ids, (std::vector<int64_t>{9, 4}));
  std::vector<float> rows;
  EXPECT_EQ(exporter_.ExportChunk(0, 10, nullptr, &rows, nullptr), -1);
  EXPECT_EQ(rows, (std::vector<float>{4, -4}));
}

TEST_F(RowExporterTest, NoRowsAndNoSuchCursorEndAtOnce) {
  std::vector<int64_t> ids;
  EXPECT_EQ(exporter_.ExportChunk(0, 10, &ids, nullptr, nullptr), -1);
  Insert(4);
  EXPECT_EQ(exporter_.ExportChunk(-2, 10, &ids, nullptr, nullptr), -1);
  EXPECT_EQ(
      exporter_.ExportChunk(int64_t{64} << 32, 10, &ids, nullptr, nullptr), -1);
  EXPECT_TRUE(ids.empty());
}

TEST_F(RowExporterTest, GroupsAreOrderedByGroupAndThenById) {
  for (const int64_t id : Range(1, 3000)) Insert(id);
  std::vector<int64_t> counts, stamps = {1, 2}, ids = {3};
  std::vector<float> rows = {4};
  exporter_.ExportGroups(10, 20, &counts, &ids, &stamps, &rows);
  ASSERT_EQ(counts.size(), 10u);
  size_t next = 0;
  for (int group = 10; group < 20; ++group) {
    for (int64_t i = 0; i < counts[group - 10]; ++i, ++next) {
      ASSERT_LT(next, ids.size());
      EXPECT_EQ(GroupOf(ids[next]), group);
      if (i > 0) {
        EXPECT_GT(ids[next], ids[next - 1]);
      }
      EXPECT_EQ(rows[2 * next], static_cast<float>(ids[next]));
      EXPECT_EQ(stamps[next], int64_t{3} << 32 | ids[next]);
    }
  }
  EXPECT_EQ(next, ids.size());
  int64_t expected = 0;
  for (const int64_t id : Range(1, 3000)) {
    expected += GroupOf(id) >= 10 && GroupOf(id) < 20;
  }
  EXPECT_EQ(static_cast<int64_t>(ids.size()), expected);
}

TEST_F(RowExporterTest, GroupsAreClamped) {
  for (const int64_t id : Range(1, 300)) Insert(id);
  std::vector<int64_t> counts, ids, stamps;
  std::vector<float> rows;
  exporter_.ExportGroups(-3, 1000, &counts, &ids, &stamps, &rows);
  EXPECT_EQ(counts.size(), static_cast<size_t>(kNumGroups));
  EXPECT_EQ(ids.size(), 300u);
  exporter_.ExportGroups(5, 2, &counts, &ids, &stamps, &rows);
  EXPECT_TRUE(counts.empty());
  EXPECT_TRUE(ids.empty());
}

TEST_F(RowExporterTest, RowsWithoutTimesHaveNoStamps) {
  TableConfig config = SgdConfig(2);
  config.tracks_changes = false;
  const RowLayout layout(config);
  StripeSet stripes(&layout, KeyedHash(7, 11), RowArena::kMaxSlabBytes);
  const uint64_t hash = stripes.hash()(4);
  {
    Stripe* const stripe = stripes.Of(hash);
    SpinLockHolder holder(stripe->lock());
    layout.Initialize(stripe->Insert(hash, 4));
  }
  std::vector<int64_t> ids, stamps;
  RowExporter(&layout, &stripes).ExportChunk(0, 10, &ids, nullptr, &stamps);
  EXPECT_EQ(stamps, std::vector<int64_t>{0});
}

TEST_F(RowExporterTest, RowsThatStayAreExportedOnceWhileOthersComeAndGo) {
  // Odd ids stay, even ones come and go.
  for (const int64_t id : Range(1, 4000)) Insert(id);
  std::atomic<bool> is_done{false};
  std::thread churn([&] {
    for (int64_t round = 0; !is_done.load(); ++round) {
      for (int64_t id = 2; id <= 4000; id += 2) {
        if (round % 2 == 0) {
          Remove(id);
        } else {
          Insert(id);
        }
        const uint64_t hash = stripes_.hash()(id);
        SpinLockHolder holder(stripes_.Of(hash)->lock());
        stripes_.Compact(stripes_.Of(hash));
      }
    }
  });
  for (int round = 0; round < 10; ++round) {
    std::map<int64_t, int> times;
    for (int64_t cursor = 0; cursor >= 0;) {
      std::vector<int64_t> ids;
      std::vector<float> rows;
      cursor = exporter_.ExportChunk(cursor, 333, &ids, &rows, nullptr);
      for (size_t i = 0; i < ids.size(); ++i) {
        ++times[ids[i]];
        EXPECT_EQ(rows[2 * i], static_cast<float>(ids[i]));
      }
    }
    std::vector<int64_t> counts, ids, stamps;
    std::vector<float> rows;
    exporter_.ExportGroups(0, kNumGroups, &counts, &ids, &stamps, &rows);
    const std::set<int64_t> in_groups(ids.begin(), ids.end());
    EXPECT_EQ(in_groups.size(), ids.size());
    for (int64_t id = 1; id <= 4000; id += 2) {
      EXPECT_EQ(times[id], 1) << id;
      EXPECT_EQ(in_groups.count(id), 1u) << id;
    }
  }
  is_done = true;
  churn.join();
}

}  // namespace
}  // namespace monolith_tf
