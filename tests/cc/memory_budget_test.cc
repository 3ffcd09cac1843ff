#include "ops/cc/memory/memory_budget.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "ops/cc/memory/memory_pool.h"

namespace monolith_tf {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(MemoryBudgetTest, MemoryEndsBeforeThatOfTheSystemDoes) {
  int64_t available = 100 * kMiB;
  MemoryBudget budget([&] { return available; });
  EXPECT_TRUE(budget.Allows(36 * kMiB));
  EXPECT_FALSE(budget.Allows(37 * kMiB));
}

TEST(MemoryBudgetTest, WithoutAKnownLimitEverythingIsAllowed) {
  MemoryBudget budget([] { return int64_t{-1}; });
  EXPECT_TRUE(budget.Allows(int64_t{1} << 50));
}

TEST(MemoryBudgetTest, ARefusalHoldsForAWhileWithoutALookAtTheSystem) {
  int num_looks = 0;
  MemoryBudget budget([&] {
    ++num_looks;
    return int64_t{0};
  });
  for (int i = 0; i < 10000; ++i) EXPECT_FALSE(budget.Allows(1));
  EXPECT_LT(num_looks, 1000);
}

TEST(MemoryBudgetTest, TheProcessHasMemory) {
  EXPECT_TRUE(MemoryBudget::OfProcess().Allows(1));
}

TEST(MemoryBudgetTest, APoolBeyondItsBudgetHasNoMoreMemory) {
  int64_t available = 1000 * kMiB;
  MemoryBudget budget([&] { return available; });
  MemoryPool pool(&budget);
  std::vector<MemoryPool::Slab> slabs;
  slabs.push_back(pool.Allocate(kMiB));
  ASSERT_FALSE(slabs.back().empty());
  available = 70 * kMiB;
  // What the pool has taken from the system is given out, nothing more.
  while (slabs.size() < 100) {
    MemoryPool::Slab slab = pool.Allocate(kMiB);
    if (slab.empty()) break;
    slabs.push_back(std::move(slab));
  }
  EXPECT_EQ(slabs.size(), MemoryPool::kExtentBytes / kMiB);
  EXPECT_TRUE(pool.Allocate(8 * kMiB).empty());
  // Small pieces are not worth a look.
  EXPECT_FALSE(pool.Allocate(4096).empty());
}

}  // namespace
}  // namespace monolith_tf
