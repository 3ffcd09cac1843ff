// How a batch of ids, and the records of a stripe, are gone over.

#include "ops/cc/table/stripe_set.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/cuckoo_index.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/striped_batch.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

class StripeSetTest : public ::testing::Test {
 protected:
  void Insert(int64_t id) {
    const uint64_t hash = stripes_.hash()(id);
    Stripe* const stripe = stripes_.Of(hash);
    SpinLockHolder holder(stripe->lock());
    Row* const row = stripe->Insert(hash, id);
    ASSERT_NE(row, nullptr);
    layout_.Initialize(row);
  }
  bool Remove(int64_t id) {
    const uint64_t hash = stripes_.hash()(id);
    Stripe* const stripe = stripes_.Of(hash);
    SpinLockHolder holder(stripe->lock());
    return stripe->Remove(hash, id);
  }
  // Ids of `stripe`, in the order of a walk; calls visit(id) for each.
  template <typename Visit>
  void Walk(Stripe* stripe, const Visit& visit) {
    StripeSet::WalkRecords<int64_t>(
        stripe, [&]() -> const RowArena& { return stripe->rows(); },
        [&](uint32_t handle) { return stripe->RowAt(handle)->id; }, visit);
  }

  const RowLayout layout_{AdagradConfig(4)};
  StripeSet stripes_{&layout_, KeyedHash(7, 11), RowArena::kMaxSlabBytes};
};

TEST_F(StripeSetTest, AnIdIsInTheStripeThatItsHashNames) {
  for (const int64_t id : Range(0, 1000)) Insert(id);
  EXPECT_EQ(stripes_.num_rows(), 1000);
  std::set<int64_t> seen;
  for (const auto& stripe : stripes_) {
    Walk(stripe.get(), [&](int64_t id) {
      EXPECT_EQ(stripes_.Of(stripes_.hash()(id)), stripe.get());
      EXPECT_TRUE(seen.insert(id).second);
    });
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST_F(StripeSetTest, RunsOfAPartHoldItsPositionsOnceAndInOrder) {
  // Three ids in turn, more than one sorted batch.
  std::vector<int64_t> ids;
  for (int i = 0; i < 3 * 64 * 64; ++i) ids.push_back(i % 3 == 0 ? 5 : i);
  std::set<int64_t> seen;
  for (int part = 0; part < 3; ++part) {
    int64_t last_of_five = -1;
    stripes_.ForEachRun(
        ids.data(), static_cast<int64_t>(ids.size()), {part, 3},
        [&](Stripe* stripe, const StripeRun& run) {
          EXPECT_LE(run.size, StripeSet::kMaxRunRows);
          for (int k = 0; k < run.size; ++k) {
            const int64_t position = run.position(k);
            EXPECT_EQ(run.id(k), ids[position]);
            EXPECT_EQ(run.hashes[k], stripes_.hash()(run.id(k)));
            EXPECT_EQ(stripes_.Of(run.hashes[k]), stripe);
            EXPECT_EQ(CuckooIndex::StripeOf(run.hashes[k]) % 3, part);
            EXPECT_TRUE(seen.insert(position).second);
            if (run.id(k) != 5) continue;
            EXPECT_GT(position, last_of_five);
            last_of_five = position;
          }
          return true;
        });
  }
  EXPECT_EQ(seen.size(), ids.size());
}

TEST_F(StripeSetTest, AWalkOverRunsStopsWhenItIsTold) {
  const std::vector<int64_t> ids = Range(0, 10000);
  int num_runs = 0;
  stripes_.ForEachRun(
      ids.data(), 10000, StripePart(),
      [&](Stripe*, const StripeRun&) { return ++num_runs < 3; });
  EXPECT_EQ(num_runs, 3);
}

TEST_F(StripeSetTest, LongRowsMakeShortRuns) {
  const RowLayout layout(SgdConfig(4096));
  StripeSet stripes(&layout, KeyedHash(7, 11), RowArena::kMaxSlabBytes);
  const std::vector<int64_t> ids = Range(0, 1000);
  stripes.ForEachRun(ids.data(), 1000, StripePart(),
                     [&](Stripe*, const StripeRun& run) {
                       // 16 KiB and a header each.
                       EXPECT_EQ(run.size, 1);
                       return true;
                     });
}

TEST_F(StripeSetTest, EachPositionIsFetchedAndEitherFoundOrMissing) {
  for (const int64_t id : Range(0, 500)) Insert(2 * id);
  const std::vector<int64_t> ids = Range(0, 1000);
  std::map<int64_t, int> fetched, found, missing;
  stripes_.ForEachRow(
      ids.data(), 1000, layout_.read_bytes(),
      [&](int64_t position) { ++fetched[position]; },
      [&](int64_t position, const Row* row) {
        EXPECT_EQ(row->id, ids[position]);
        ++found[position];
      },
      [&](int64_t position) { ++missing[position]; });
  for (const int64_t position : Range(0, 1000)) {
    EXPECT_EQ(fetched[position], 1);
    EXPECT_EQ(found[position], position % 2 == 0);
    EXPECT_EQ(missing[position], position % 2 == 1);
  }
}

TEST_F(StripeSetTest, RecordsThatStayAreWalkedOnceWhileOthersGo) {
  for (const int64_t id : Range(0, 100000)) Insert(id);
  Stripe* const stripe = stripes_.at(17);
  std::vector<int64_t> before;
  Walk(stripe, [&](int64_t id) { before.push_back(id); });
  ASSERT_GT(before.size(), 3 * StripeSet::kRecordsPerHold);
  // Removes the front half while it walks, and moves what it can.
  std::map<int64_t, int> visits;
  size_t num_removed = 0;
  Walk(stripe, [&](int64_t id) {
    ++visits[id];
    if (num_removed >= before.size() / 2) return;
    EXPECT_TRUE(Remove(before[num_removed++]));
    SpinLockHolder holder(stripe->lock());
    // A record that moved to the front would be missed.
    EXPECT_EQ(stripe->Compact(100, /*to_the_last=*/true), 0);
  });
  for (size_t i = num_removed; i < before.size(); ++i) {
    EXPECT_EQ(visits[before[i]], 1);
  }
  // And after the walk they move.
  SpinLockHolder holder(stripe->lock());
  EXPECT_GT(stripe->Compact(100, /*to_the_last=*/true), 0);
}

TEST_F(StripeSetTest, CompactingMovesFewRecordsUnderOneHold) {
  std::vector<int64_t> ids = Range(0, 100000);
  for (const int64_t id : ids) Insert(id);
  for (const int64_t id : ids) {
    if (id % 10 != 0) {
      ASSERT_TRUE(Remove(id));
    }
  }
  Stripe* const stripe = stripes_.at(3);
  std::map<int64_t, const Row*> before;
  const auto places = [&] {
    std::map<int64_t, const Row*> places;
    Walk(stripe, [&](int64_t id) {
      SpinLockHolder holder(stripe->lock());
      places[id] = stripe->Find(stripes_.hash()(id), id);
    });
    return places;
  };
  before = places();
  {
    SpinLockHolder holder(stripe->lock());
    stripe->Compact(StripeSet::kMovesPerRun);
  }
  int num_moved = 0;
  for (const auto& [id, row] : places()) num_moved += before.at(id) != row;
  EXPECT_GT(num_moved, 0);
  EXPECT_LE(num_moved, StripeSet::kMovesPerRun);
}

}  // namespace
}  // namespace monolith_tf
