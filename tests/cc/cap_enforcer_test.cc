// The capacity limit on its own: stripes that hold rows, and no table.

#include "ops/cc/table/cap_enforcer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

TableConfig Config(int64_t max_rows, const std::string& policy = "lru") {
  TableConfig config = SgdConfig(2);
  config.eviction.max_rows = max_rows;
  config.eviction.policy = policy;
  return config;
}

// Stripes with a limit on them.
struct CappedStripes {
  explicit CappedStripes(const TableConfig& config)
      : config(config),
        layout(this->config),
        stripes(&layout, KeyedHash(7, 11), SlabBytesOf(this->config.eviction)),
        cap(this->config, &layout, &stripes) {}

  // Inserts a row, or touches it, as a part of `update` does.
  void Touch(int64_t id, RunningUpdate update, uint32_t time = 0) {
    const uint64_t hash = stripes.hash()(id);
    Stripe* const stripe = stripes.Of(hash);
    SpinLockHolder holder(stripe->lock());
    Row* row = stripe->Find(hash, id);
    if (row == nullptr) {
      row = stripe->Insert(hash, id);
      ASSERT_NE(row, nullptr);
      layout.Initialize(row);
      cap.AddRows(1);
    }
    row->last_update = time;
    layout.SetUpdate(row, update.number);
  }
  // Returns how many rows the update evicted.
  int64_t Update(const std::vector<int64_t>& ids, uint32_t time = 0) {
    const RunningUpdate update = cap.BeginUpdate();
    for (const int64_t id : ids) Touch(id, update, time);
    return cap.EndUpdate(update);
  }
  std::set<int64_t> Ids() const {
    std::set<int64_t> ids;
    for (const auto& stripe : stripes) {
      SpinLockHolder holder(stripe->lock());
      const RowArena& rows = stripe->rows();
      for (uint32_t handle = rows.NextUsed(0); handle < rows.end();
           handle = rows.NextUsed(handle + 1)) {
        ids.insert(stripe->RowAt(handle)->id);
      }
    }
    return ids;
  }

  const TableConfig config;
  const RowLayout layout;
  StripeSet stripes;
  CapEnforcer cap;
};

TEST(CapEnforcerTest, WithoutALimitNothingIsEvicted) {
  CappedStripes capped(SgdConfig(2));
  EXPECT_FALSE(capped.cap.has_cap());
  EXPECT_EQ(capped.cap.cap(), 0);
  EXPECT_FALSE(capped.cap.needs_frequency());
  capped.cap.AddRows(1000);
  EXPECT_EQ(capped.cap.EndUpdate(capped.cap.BeginUpdate()), 0);
  EXPECT_EQ(capped.cap.EnforceIfIdle(), 0);
}

TEST(CapEnforcerTest, UpdatesAreNumberedFromOne) {
  CappedStripes capped(Config(10));
  EXPECT_EQ(capped.cap.BeginUpdate().number, 1);
  EXPECT_EQ(capped.cap.BeginUpdate().number, 2);
}

TEST(CapEnforcerTest, TheLowestRowsGoWhenAnUpdateEnds) {
  CappedStripes capped(Config(3));
  EXPECT_EQ(capped.Update({1}, 30), 0);
  EXPECT_EQ(capped.Update({2}, 10), 0);
  EXPECT_EQ(capped.Update({3}, 20), 0);
  EXPECT_EQ(capped.Update({4, 5}, 5), 2);
  // The update's own rows are older, and stay.
  EXPECT_EQ(capped.Ids(), (std::set<int64_t>{1, 4, 5}));
}

TEST(CapEnforcerTest, AnUpdateAboveTheLimitLosesRowsOfItsOwnToo) {
  for (const int64_t max_rows : {int64_t{100}, 2 * CapEnforcer::kSmallCap}) {
    CappedStripes capped(Config(max_rows));
    EXPECT_EQ(capped.Update(Range(0, 2 * max_rows)), max_rows);
    EXPECT_EQ(static_cast<int64_t>(capped.Ids().size()), max_rows);
  }
}

TEST(CapEnforcerTest, ALargeLimitSparesTheRowsOfTheUpdate) {
  constexpr int64_t kCap = 2 * CapEnforcer::kSmallCap;
  CappedStripes capped(Config(kCap));
  EXPECT_EQ(capped.Update(Range(0, kCap), 100), 0);
  EXPECT_EQ(capped.Update(Range(kCap, kCap / 2), 1), kCap / 2);
  const std::set<int64_t> ids = capped.Ids();
  EXPECT_EQ(static_cast<int64_t>(ids.size()), kCap);
  for (const int64_t id : Range(kCap, kCap / 2)) EXPECT_EQ(ids.count(id), 1u);
}

TEST(CapEnforcerTest, WhileAnUpdateRunsNothingElseEvicts) {
  CappedStripes capped(Config(2));
  const RunningUpdate first = capped.cap.BeginUpdate();
  for (const int64_t id : {1, 2, 3}) capped.Touch(id, first);
  EXPECT_EQ(capped.cap.EnforceIfIdle(), 0);
  EXPECT_EQ(capped.cap.EndUpdate(first), 1);
  // Rows that a removal of the caller left too many: none.
  EXPECT_EQ(capped.cap.EnforceIfIdle(), 0);
}

TEST(CapEnforcerTest, RowsThatCameWithoutAnUpdateGoOnDemand) {
  CappedStripes capped(Config(2));
  for (const int64_t id : {1, 2, 3}) capped.Touch(id, RunningUpdate(), 10 - id);
  EXPECT_EQ(capped.cap.EnforceIfIdle(), 1);
  EXPECT_EQ(capped.Ids(), (std::set<int64_t>{1, 2}));
}

TEST(CapEnforcerTest, RemovedRowsMakeRoom) {
  CappedStripes capped(Config(2));
  capped.Update({1, 2});
  const uint64_t hash = capped.stripes.hash()(1);
  {
    Stripe* const stripe = capped.stripes.Of(hash);
    SpinLockHolder holder(stripe->lock());
    ASSERT_TRUE(stripe->Remove(hash, 1));
    capped.cap.AddRows(-1);
  }
  EXPECT_EQ(capped.Update({3}), 0);
  EXPECT_EQ(capped.Ids(), (std::set<int64_t>{2, 3}));
}

TEST(CapEnforcerTest, UpdatesThatEndTogetherEvictNoRowTwice) {
  for (const int64_t max_rows : {int64_t{500}, 2 * CapEnforcer::kSmallCap}) {
    CappedStripes capped(Config(max_rows));
    constexpr int kNumThreads = 4;
    const int64_t share = max_rows;
    std::vector<int64_t> num_evicted(kNumThreads, 0);
    std::vector<std::thread> threads;
    for (int t = 0; t < kNumThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int64_t first = 0; first < share; first += 100) {
          num_evicted[t] += capped.Update(
              Range(t * share + first, std::min<int64_t>(100, share - first)));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    int64_t num_gone = 0;
    for (const int64_t gone : num_evicted) num_gone += gone;
    const auto num_left = static_cast<int64_t>(capped.Ids().size());
    EXPECT_EQ(num_left, max_rows);
    EXPECT_EQ(num_gone, kNumThreads * share - num_left);
  }
}

TEST(CapEnforcerTest, OnlyLfuReadsFrequencies) {
  EXPECT_TRUE(CappedStripes(Config(5, "lfu")).cap.needs_frequency());
  EXPECT_FALSE(CappedStripes(Config(5, "lru")).cap.needs_frequency());
  EXPECT_FALSE(CappedStripes(Config(5, "lowest_norm")).cap.needs_frequency());
  TableConfig config = SgdConfig(2);
  config.eviction.policy = "lfu";
  EXPECT_FALSE(CappedStripes(config).cap.needs_frequency());
}

TEST(CapEnforcerTest, ALimitInBytesAllowsRowsForThem) {
  TableConfig config = SgdConfig(16);
  config.eviction.max_bytes = 1 << 20;
  CappedStripes capped(config);
  // 88 bytes of row, 14.5 of index and little more.
  EXPECT_GT(capped.cap.cap(), (1 << 20) / 120);
  EXPECT_LT(capped.cap.cap(), (1 << 20) / 102);
  config.eviction.max_rows = 100;
  EXPECT_EQ(CappedStripes(config).cap.cap(), 100);
  // At least one.
  config.eviction.max_bytes = 1;
  EXPECT_EQ(CappedStripes(config).cap.cap(), 1);
}

TEST(CapEnforcerTest, CountersOfWaitingIdsTakeOfABytesLimit) {
  for (const std::string kind : {"all", "count"}) {
    TableConfig config = SgdConfig(16);
    config.eviction.max_bytes = 1 << 20;
    config.admission.kind = kind;
    config.admission.min_count = 2;
    CappedStripes capped(config);
    const int64_t cap = capped.cap.cap();
    capped.Update(Range(0, cap));
    for (const int64_t id : Range(cap, 10000)) {
      const uint64_t hash = capped.stripes.hash()(id);
      Stripe* const stripe = capped.stripes.Of(hash);
      SpinLockHolder holder(stripe->lock());
      ASSERT_EQ(stripe->Count(hash, id, 1, 0), 1);
    }
    const int64_t num_gone = capped.Update({});
    if (kind == "all") {
      EXPECT_EQ(num_gone, 0);
    } else {
      EXPECT_GT(num_gone, cap / 4);
      // Never more than half.
      EXPECT_LE(num_gone, cap / 2 + 1);
    }
  }
}

TEST(CapEnforcerTest, SlabsAreFewBytesOfASmallLimit) {
  EvictionConfig eviction;
  EXPECT_EQ(SlabBytesOf(eviction), RowArena::kMaxSlabBytes);
  eviction.max_bytes = 1;
  EXPECT_EQ(SlabBytesOf(eviction), 2048);
  eviction.max_bytes = 64 << 20;
  EXPECT_EQ(SlabBytesOf(eviction), 65536);
  eviction.max_bytes = int64_t{1} << 40;
  EXPECT_EQ(SlabBytesOf(eviction), RowArena::kMaxSlabBytes);
}

}  // namespace
}  // namespace monolith_tf
