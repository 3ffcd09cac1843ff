// What a stripe does under one hold of its lock is bounded.

#include "ops/cc/table/stripe.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <vector>

#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/cuckoo_index.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe_set.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

// The ids of one stripe.
std::vector<int64_t> IdsOfAStripe(KeyedHash hash, int64_t n) {
  std::vector<int64_t> ids;
  for (int64_t id = 0; static_cast<int64_t>(ids.size()) < n; ++id) {
    if (CuckooIndex::StripeOf(hash(id)) == 3) ids.push_back(id);
  }
  return ids;
}

class StripeTest : public ::testing::Test {
 protected:
  StripeTest() : stripe_(3, &layout_, kHash, &pool_, &log_bytes_) {}

  std::map<int64_t, const Row*> Places() {
    std::map<int64_t, const Row*> places;
    SpinLockHolder holder(stripe_.lock());
    const RowArena& rows = stripe_.rows();
    for (uint32_t handle = rows.NextUsed(0); handle < rows.end();
         handle = rows.NextUsed(handle + 1)) {
      const Row* const row = stripe_.RowAt(handle);
      EXPECT_TRUE(places.insert({row->id, row}).second);
      EXPECT_EQ(stripe_.Find(kHash(row->id), row->id), row);
    }
    return places;
  }
  void Insert(int64_t id) {
    SpinLockHolder holder(stripe_.lock());
    Row* const row = stripe_.Insert(kHash(id), id);
    ASSERT_NE(row, nullptr);
    layout_.Initialize(row);
  }
  void Remove(int64_t id) {
    SpinLockHolder holder(stripe_.lock());
    ASSERT_TRUE(stripe_.Remove(kHash(id), id));
  }

  static constexpr KeyedHash kHash{7, 11};
  const RowLayout layout_{AdagradConfig(16)};
  MemoryPool pool_;
  std::atomic<int64_t> log_bytes_{0};
  Stripe stripe_;
};

TEST_F(StripeTest, ACompactionMovesNoMoreRowsThanItMay) {
  const std::vector<int64_t> ids = IdsOfAStripe(kHash, 3000);
  for (const int64_t id : ids) Insert(id);
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i % 10 != 0) Remove(ids[i]);
  }
  int64_t num_holds = 0;
  for (bool is_done = false; !is_done; ++num_holds) {
    const auto before = Places();
    {
      SpinLockHolder holder(stripe_.lock());
      is_done = stripe_.Compact(StripeSet::kMovesPerRun) == 0;
    }
    const auto after = Places();
    ASSERT_EQ(after.size(), before.size());
    int num_moved = 0;
    for (const auto& [id, row] : after) num_moved += before.at(id) != row;
    ASSERT_LE(num_moved, StripeSet::kMovesPerRun);
  }
  EXPECT_EQ(Places().size(), 300u);
  // All rows but the front ones had to move.
  EXPECT_GE(num_holds, 270 / StripeSet::kMovesPerRun / 2);
  SpinLockHolder holder(stripe_.lock());
  EXPECT_LE(stripe_.rows().end(), 300 * 8 / 7 + 64 + 1);
}

TEST_F(StripeTest, RowsStayWhereTheyAreWhileTheyAreWalkedOver) {
  const std::vector<int64_t> ids = IdsOfAStripe(kHash, 1000);
  for (const int64_t id : ids) Insert(id);
  for (size_t i = 0; i < 900; ++i) Remove(ids[i]);
  const auto before = Places();
  {
    SpinLockHolder holder(stripe_.lock());
    stripe_.Pin();
    stripe_.Pin();
    EXPECT_EQ(stripe_.Compact(1000, /*to_the_last=*/true), 0);
    stripe_.Unpin();
    EXPECT_EQ(stripe_.Compact(1000, /*to_the_last=*/true), 0);
    stripe_.Unpin();
  }
  EXPECT_EQ(Places(), before);
  SpinLockHolder holder(stripe_.lock());
  while (stripe_.Compact(1000, /*to_the_last=*/true) > 0) {
  }
  EXPECT_EQ(stripe_.rows().end(), 100u);
}

TEST_F(StripeTest, SlabsMoveTogetherAndKeepWhatIsInThem) {
  const std::vector<int64_t> ids = Range(0, 80000);
  // Slabs of two stripes take turns in the pool until one is emptied.
  std::map<int64_t, std::vector<float>> expected;
  {
    Stripe other(4, &layout_, kHash, &pool_, &log_bytes_);
    for (const int64_t id : ids) {
      Insert(id);
      SpinLockHolder holder(other.lock());
      ASSERT_NE(other.Insert(kHash(id), id), nullptr);
    }
    for (const auto& [id, row] : Places()) {
      expected[id].resize(layout_.row_width());
      layout_.ReadAll(row, expected[id].data());
    }
  }
  EXPECT_TRUE(pool_.is_scattered());
  const int64_t idle_bytes = pool_.idle_bytes();
  const auto before = Places();
  for (bool has_moved = true; has_moved;) {
    has_moved = false;
    SpinLockHolder holder(stripe_.lock());
    for (int64_t i = 0; i < stripe_.num_slabs(); ++i) {
      has_moved = stripe_.MoveSlabs() || has_moved;
    }
  }
  while (pool_.Maintain()) {
  }
  EXPECT_FALSE(pool_.is_scattered());
  EXPECT_LT(pool_.idle_bytes(), idle_bytes);
  const auto after = Places();
  EXPECT_NE(after, before);
  ASSERT_EQ(after.size(), ids.size());
  for (const auto& [id, row] : after) {
    std::vector<float> floats(layout_.row_width());
    layout_.ReadAll(row, floats.data());
    ASSERT_EQ(floats, expected.at(id));
  }
}

TEST_F(StripeTest, ASweepLooksAtNoMoreRowsThanItMayAndComesAround) {
  const std::vector<int64_t> ids = IdsOfAStripe(kHash, 1000);
  for (const int64_t id : ids) Insert(id);
  SpinLockHolder holder(stripe_.lock());
  // All were last updated at 0.
  EXPECT_EQ(stripe_.SweepExpired(100, 100, 5000), 0);
  int64_t num_gone = 0;
  while (stripe_.num_rows() > 0) {
    const int64_t gone = stripe_.SweepExpired(101, 100, 64);
    ASSERT_LE(gone, 64);
    num_gone += gone;
  }
  EXPECT_EQ(num_gone, 1000);
}

}  // namespace
}  // namespace monolith_tf
