// The frequency filter on its own: counters in stripes or a sketch, no table.

#include "ops/cc/table/admission_filter.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/admission/packed_count.h"
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

bool AcceptAll(int64_t) { return true; }

AdmissionConfig Config(const std::string& kind, int64_t min_count = 1,
                       int64_t window_seconds = 0) {
  AdmissionConfig config;
  config.kind = kind;
  config.min_count = min_count;
  config.window_seconds = window_seconds;
  config.sketch_bytes = 1 << 20;
  return config;
}

// Stripes with a filter in front of them.
struct FilteredStripes {
  explicit FilteredStripes(const AdmissionConfig& config)
      : config(config), filter(this->config, /*table_key=*/3, &stripes) {}

  // As an update does: an admitted id gets a row.
  bool Occur(int64_t id, int64_t occurrences = 1, uint32_t time = 0,
             int64_t overrides = 0, int64_t global_step = 1) {
    const uint64_t hash = stripes.hash()(id);
    Stripe* const stripe = stripes.Of(hash);
    SpinLockHolder holder(stripe->lock());
    const bool is_admitted =
        filter.Admits(stripe, hash, id, PackCount(occurrences, overrides),
                      {global_step, filter.IntervalOf(time)});
    if (is_admitted) {
      EXPECT_NE(stripe->Insert(hash, id), nullptr);
    }
    return is_admitted;
  }
  int64_t num_counters() const {
    int64_t num_counters = 0;
    for (const auto& stripe : stripes) {
      SpinLockHolder holder(stripe->lock());
      num_counters += stripe->counters().size();
    }
    return num_counters;
  }

  const AdmissionConfig config;
  const RowLayout layout{SgdConfig(1)};
  StripeSet stripes{&layout, KeyedHash(7, 11), RowArena::kMaxSlabBytes};
  AdmissionFilter filter;
};

TEST(AdmissionFilterTest, AllAdmitsAtTheFirstOccurrenceAndCountsNothing) {
  FilteredStripes filtered(Config("all"));
  EXPECT_TRUE(filtered.Occur(5));
  EXPECT_EQ(filtered.num_counters(), 0);
  EXPECT_EQ(filtered.filter.max_min_count(), 1);
  EXPECT_FALSE(filtered.filter.has_expiring_counters());
}

TEST(AdmissionFilterTest, CountAndSketchAdmitAtTheMinCount) {
  for (const std::string kind : {"count", "sketch"}) {
    FilteredStripes filtered(Config(kind, 3));
    EXPECT_FALSE(filtered.Occur(5));
    EXPECT_FALSE(filtered.Occur(5));
    EXPECT_TRUE(filtered.Occur(5));
    EXPECT_FALSE(filtered.Occur(6, 2));
    EXPECT_TRUE(filtered.Occur(7, 3));
    // The row of 5 took its counter; 7 never had one.
    EXPECT_EQ(filtered.num_counters(), kind == "count" ? 1 : 0);
    EXPECT_EQ(filtered.filter.sketch_bytes() > 0, kind == "sketch");
  }
}

TEST(AdmissionFilterTest, AnOverrideReplacesTheMinCount) {
  FilteredStripes filtered(Config("count", 3));
  EXPECT_TRUE(filtered.Occur(1, 1, 0, PackOverrides(1, 0)));
  EXPECT_FALSE(filtered.Occur(2, 3, 0, PackOverrides(4, 0)));
  EXPECT_TRUE(filtered.Occur(2, 1, 0, PackOverrides(4, 0)));
  // A probability of 1.
  EXPECT_TRUE(
      filtered.Occur(3, 1, 0, PackOverrides(kCertainThreshold, 0, true)));
}

TEST(AdmissionFilterTest, TheLargestMinCountIsWhatCountersHold) {
  EXPECT_EQ(FilteredStripes(Config("count", 2)).filter.max_min_count(), 65535);
  EXPECT_EQ(FilteredStripes(Config("sketch", 2)).filter.max_min_count(), 255);
  EXPECT_EQ(FilteredStripes(Config("sketch", 256)).filter.max_min_count(),
            65535);
  EXPECT_EQ(FilteredStripes(Config("probability")).filter.max_min_count(), 1);
}

TEST(AdmissionFilterTest, AProbabilityAdmitsItsShareOfOccurrences) {
  AdmissionConfig config = Config("probability");
  config.probability = 0.25f;
  for (const int64_t occurrences : {1, 3}) {
    FilteredStripes filtered(config);
    int num_admitted = 0;
    for (const int64_t id : Range(0, 10000)) {
      num_admitted += filtered.Occur(id, occurrences);
    }
    const double expected = occurrences == 1 ? 0.25 : 1 - 0.75 * 0.75 * 0.75;
    // Five deviations.
    EXPECT_NEAR(num_admitted / 10000.0, expected, 0.025);
  }
}

TEST(AdmissionFilterTest, ADrawIsAFunctionOfIdAndStep) {
  AdmissionConfig config = Config("probability");
  config.probability = 0.5f;
  FilteredStripes one(config), other(config);
  int num_changed = 0;
  for (const int64_t id : Range(0, 1000)) {
    const bool is_admitted = one.Occur(id, 1, 0, 0, /*global_step=*/1);
    EXPECT_EQ(other.Occur(id, 1, 0, 0, 1), is_admitted);
    num_changed += FilteredStripes(config).Occur(id, 1, 0, 0, 2) != is_admitted;
  }
  EXPECT_GT(num_changed, 400);
}

TEST(AdmissionFilterTest, CountersExpireWithTheWindow) {
  FilteredStripes filtered(Config("count", 2, /*window_seconds=*/100));
  EXPECT_TRUE(filtered.filter.has_expiring_counters());
  EXPECT_FALSE(filtered.Occur(5, 1, /*time=*/0));
  EXPECT_FALSE(filtered.Occur(6, 1, /*time=*/120));
  const auto sweep = [&](uint32_t time) {
    for (const auto& stripe : filtered.stripes) {
      SpinLockHolder holder(stripe->lock());
      filtered.filter.Sweep(stripe.get(), time, 10);
    }
    return filtered.num_counters();
  };
  EXPECT_EQ(sweep(99), 2);
  EXPECT_EQ(sweep(120), 1);
  // What went counts anew.
  EXPECT_FALSE(filtered.Occur(5, 1, 120));
  EXPECT_TRUE(filtered.Occur(6, 1, 130));
}

TEST(AdmissionFilterTest, WithoutAWindowASweepLeavesCounters) {
  FilteredStripes filtered(Config("count", 2));
  filtered.Occur(5);
  Stripe* const stripe = filtered.stripes.Of(filtered.stripes.hash()(5));
  SpinLockHolder holder(stripe->lock());
  filtered.filter.Sweep(stripe, 0xFFFFFFFF, 1000);
  EXPECT_EQ(stripe->counters().size(), 1);
}

TEST(AdmissionFilterTest, AnImportGoesOnWhereTheExportStopped) {
  for (const std::string kind : {"count", "sketch"}) {
    FilteredStripes from(Config(kind, 3)), to(Config(kind, 3));
    for (const int64_t id : Range(0, 100)) from.Occur(id, 2);
    const auto saved = from.filter.Export(0, kNumGroups);
    ASSERT_EQ(saved.size(), static_cast<size_t>(kNumGroups));
    for (int group = 0; group < kNumGroups; ++group) {
      ASSERT_TRUE(to.filter.Import(group, saved[group], AcceptAll).ok());
    }
    EXPECT_EQ(to.filter.Export(0, kNumGroups), saved);
    for (const int64_t id : Range(0, 100)) EXPECT_TRUE(to.Occur(id));
  }
}

TEST(AdmissionFilterTest, AnExportIsClampedAndOfTheGroupsAskedFor) {
  FilteredStripes filtered(Config("count", 3));
  for (const int64_t id : Range(0, 1000)) filtered.Occur(id);
  const auto all = filtered.filter.Export(-5, 1000);
  ASSERT_EQ(all.size(), static_cast<size_t>(kNumGroups));
  const auto some = filtered.filter.Export(10, 12);
  ASSERT_EQ(some.size(), 2u);
  EXPECT_EQ(some[0], all[10]);
  EXPECT_EQ(some[1], all[11]);
  ASSERT_FALSE(some[0].empty());
  // Id and counts in turn, ordered by id.
  for (size_t i = 0; i < some[0].size(); i += 2) {
    EXPECT_EQ(GroupOf(some[0][i]), 10);
    EXPECT_EQ(some[0][i + 1], 1);
    if (i > 0) {
      EXPECT_GT(some[0][i], some[0][i - 2]);
    }
  }
  EXPECT_TRUE(filtered.filter.Export(12, 10).empty());
}

TEST(AdmissionFilterTest, OnlyOwnedCountersAreImported) {
  FilteredStripes from(Config("count", 3)), to(Config("count", 3));
  for (const int64_t id : Range(0, 100)) from.Occur(id, 2);
  const auto saved = from.filter.Export(0, kNumGroups);
  for (int group = 0; group < kNumGroups; ++group) {
    const auto is_even = [](int64_t id) { return id % 2 == 0; };
    ASSERT_TRUE(to.filter.Import(group, saved[group], is_even).ok());
  }
  for (const int64_t id : Range(0, 100)) EXPECT_EQ(to.Occur(id), id % 2 == 0);
}

TEST(AdmissionFilterTest, AnImportThatDoesNotFitChangesNothing) {
  FilteredStripes filtered(Config("count", 3));
  const int64_t id = 5;
  const int group = GroupOf(id);
  ExpectError(filtered.filter.Import(kNumGroups, {id, 1}, AcceptAll),
              absl::StatusCode::kInvalidArgument,
              {"in [0, 64)", "Received: 64"});
  ExpectError(filtered.filter.Import(group, {id, 1, 7}, AcceptAll),
              absl::StatusCode::kInvalidArgument,
              {"admission", "count", "Restore with the admission"});
  ExpectError(
      filtered.filter.Import((group + 1) % kNumGroups, {id, 1}, AcceptAll),
      absl::StatusCode::kInvalidArgument, {"counts id 5"});
  ExpectError(
      FilteredStripes(Config("all")).filter.Import(group, {id, 1}, AcceptAll),
      absl::StatusCode::kInvalidArgument, {"all"});
  ExpectError(FilteredStripes(Config("sketch", 3))
                  .filter.Import(group, {id, 1}, AcceptAll),
              absl::StatusCode::kInvalidArgument, {"sketch_bytes"});
  EXPECT_EQ(filtered.num_counters(), 0);
  EXPECT_TRUE(filtered.filter.Import(kNumGroups, {}, AcceptAll).ok());
}

TEST(AdmissionFilterTest, AClearedSketchForgets) {
  FilteredStripes filtered(Config("sketch", 2));
  filtered.Occur(5);
  filtered.filter.ClearSketch();
  EXPECT_FALSE(filtered.Occur(5));
  EXPECT_TRUE(filtered.Occur(5));
}

TEST(AdmissionFilterTest, OccurrencesOfManyThreadsAreCountedExactly) {
  FilteredStripes filtered(Config("count", 4 * 500));
  std::vector<std::thread> threads;
  std::vector<int> num_admitted(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        for (const int64_t id : Range(0, 20)) {
          // The first thread exports meanwhile.
          if (t == 0 && i % 100 == 0) filtered.filter.Export(0, kNumGroups);
          num_admitted[t] += filtered.Occur(id);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(
      num_admitted[0] + num_admitted[1] + num_admitted[2] + num_admitted[3],
      20);
  EXPECT_EQ(filtered.num_counters(), 0);
}

}  // namespace
}  // namespace monolith_tf
