#include "ops/cc/memory/memory_pool.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "ops/cc/memory/huge_page_share.h"

namespace monolith_tf {
namespace {

constexpr size_t kPage = MemoryPool::kPageBytes;

// What the system says of the pool's extents.
int64_t ResidentBytesOf(const MemoryPool& pool) {
  int64_t bytes = 0;
  for (const MemoryRange& range : pool.ranges()) {
    std::vector<unsigned char> pages((range.end - range.begin) / 4096);
    EXPECT_EQ(mincore(reinterpret_cast<void*>(range.begin),
                      range.end - range.begin, pages.data()),
              0);
    for (const unsigned char page : pages) bytes += 4096 * (page & 1);
  }
  return bytes;
}

void MaintainAll(MemoryPool* pool) {
  while (pool->Maintain()) {
  }
}

TEST(MemoryPoolTest, SlabsAreAlignedAndApart) {
  MemoryPool pool;
  std::map<char*, size_t> slabs;
  std::vector<MemoryPool::Slab> owners;
  for (const size_t bytes : {size_t{100}, size_t{40000}, size_t{40001},
                             kPage - 1, kPage, MemoryPool::kExtentBytes,
                             2 * MemoryPool::kExtentBytes, size_t{40000}}) {
    owners.push_back(pool.Allocate(bytes));
    ASSERT_FALSE(owners.back().empty());
    char* const data = owners.back().data();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
    std::memset(data, 1, bytes);
    slabs[data] = bytes;
  }
  char* end = nullptr;
  for (const auto& [data, bytes] : slabs) {
    EXPECT_GE(data, end);
    end = data + bytes;
  }
  // Two slabs of one extent, the second behind the first.
  EXPECT_EQ(owners[2].data() - owners[1].data(), 40000);
}

TEST(MemoryPoolTest, ASmallTableTouchesNoHugePage) {
  MemoryPool pool;
  std::vector<MemoryPool::Slab> slabs;
  for (int i = 0; i < 64; ++i) slabs.push_back(pool.Allocate(8192));
  EXPECT_EQ(pool.resident_bytes(), 0);
  EXPECT_TRUE(pool.ranges().empty());
}

TEST(MemoryPoolTest, TheLowestFreePlaceIsCutFirst) {
  MemoryPool pool;
  std::vector<MemoryPool::Slab> slabs;
  for (int i = 0; i < 100; ++i) slabs.push_back(pool.Allocate(65536));
  char* const low = slabs[10].data();
  slabs[80] = {};
  slabs[10] = {};
  slabs[11] = {};
  EXPECT_EQ(pool.Allocate(2 * 65536).data(), low);
}

TEST(MemoryPoolTest, OnePageIsTouchedAheadOfNeed) {
  MemoryPool pool;
  std::vector<MemoryPool::Slab> slabs;
  for (int i = 0; i < 200; ++i) {
    slabs.push_back(pool.Allocate(65536));
    std::memset(slabs.back().data(), 1, 65536);
    MaintainAll(&pool);
    const int64_t used = (i + 1) * 65536;
    EXPECT_GE(pool.resident_bytes(), used);
    EXPECT_LE(pool.resident_bytes(), used + int64_t{2 * kPage});
    // The page that comes next is there.
    if (used > int64_t{kPage}) {
      EXPECT_GE(pool.resident_bytes(), used + int64_t{kPage});
    }
    EXPECT_EQ(ResidentBytesOf(pool), pool.resident_bytes());
    EXPECT_EQ(pool.idle_bytes(), pool.resident_bytes() - used);
  }
}

TEST(MemoryPoolTest, FreePagesReturnToTheSystem) {
  MemoryPool pool;
  std::vector<MemoryPool::Slab> slabs;
  for (int i = 0; i < 1000; ++i) {
    slabs.push_back(pool.Allocate(100000));
    std::memset(slabs.back().data(), i, 100000);
  }
  // Every tenth stays: no page is free.
  for (int i = 0; i < 1000; ++i) {
    if (i % 10 != 0) slabs[i] = {};
  }
  const int64_t full = pool.resident_bytes();
  MaintainAll(&pool);
  EXPECT_EQ(pool.resident_bytes(), full);
  EXPECT_EQ(ResidentBytesOf(pool), full);
  // All of the upper half goes.
  for (int i = 500; i < 1000; ++i) slabs[i] = {};
  MaintainAll(&pool);
  EXPECT_LE(pool.resident_bytes(), full / 2 + int64_t{3 * kPage});
  EXPECT_EQ(ResidentBytesOf(pool), pool.resident_bytes());
  for (int i = 0; i < 500; i += 10) {
    EXPECT_EQ(slabs[i].data()[99999], static_cast<char>(i));
  }
  slabs.clear();
  MaintainAll(&pool);
  EXPECT_EQ(pool.resident_bytes(), 0);
  EXPECT_TRUE(pool.ranges().empty());
}

TEST(MemoryPoolTest, ReservedPagesAreThereAndStay) {
  MemoryPool pool;
  const MemoryPool::Slab first = pool.Allocate(kPage / 4);
  std::memset(first.data(), 1, kPage / 4);
  // Beyond what is in use; more than an extent.
  ASSERT_TRUE(pool.Reserve(20 * kPage));
  const int64_t reserved = 22 * kPage;
  EXPECT_EQ(pool.resident_bytes(), reserved);
  EXPECT_GE(ResidentBytesOf(pool), reserved);
  EXPECT_EQ(pool.surplus_bytes(), 0);
  MaintainAll(&pool);
  EXPECT_EQ(pool.resident_bytes(), reserved);
  // Nothing more becomes resident while the reserved pages are cut.
  std::vector<MemoryPool::Slab> slabs;
  for (int i = 0; i < 4 * 20; ++i) {
    slabs.push_back(pool.Allocate(kPage / 4));
    MaintainAll(&pool);
  }
  EXPECT_EQ(pool.resident_bytes(), reserved);
  for (int i = 0; i < 4 * 20; ++i) {
    slabs.push_back(pool.Allocate(kPage / 4));
    MaintainAll(&pool);
  }
  EXPECT_GT(pool.resident_bytes(), reserved);
  slabs.clear();
  MaintainAll(&pool);
  EXPECT_EQ(pool.resident_bytes(), reserved);
  EXPECT_GE(ResidentBytesOf(pool), reserved);
  // Less than there is changes nothing.
  ASSERT_TRUE(pool.Reserve(kPage));
  EXPECT_EQ(pool.resident_bytes(), reserved);
  // Of little no page is touched.
  MemoryPool small;
  ASSERT_TRUE(small.Reserve(kPage / 2));
  EXPECT_EQ(small.resident_bytes(), 0);
}

TEST(MemoryPoolTest, ReservedPagesStayWhateverThreadsGiveBack) {
  for (int round = 0; round < 50; ++round) {
    MemoryPool pool;
    ASSERT_TRUE(pool.Reserve(4 * kPage));
    const int64_t reserved = pool.resident_bytes();
    std::vector<MemoryPool::Slab> slabs;
    for (int i = 0; i < 48; ++i) slabs.push_back(pool.Allocate(kPage / 4));
    slabs.clear();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&pool] { MaintainAll(&pool); });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(pool.resident_bytes(), reserved);
  }
}

TEST(MemoryPoolTest, ThreadsGetSlabsOfTheirOwn) {
  MemoryPool pool;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      std::mt19937_64 random(t);
      struct Held {
        MemoryPool::Slab slab;
        size_t bytes;
        char value;
      };
      std::vector<Held> held;
      for (int step = 0; step < 3000; ++step) {
        if (random() % 3 != 0 || held.empty()) {
          const size_t bytes = 1024 + random() % 200000;
          Held next{pool.Allocate(bytes), bytes, static_cast<char>(random())};
          next.slab.data()[0] = next.value;
          next.slab.data()[bytes - 1] = next.value;
          held.push_back(std::move(next));
        } else {
          std::swap(held[random() % held.size()], held.back());
          EXPECT_EQ(held.back().slab.data()[0], held.back().value);
          EXPECT_EQ(held.back().slab.data()[held.back().bytes - 1],
                    held.back().value);
          held.pop_back();
        }
        if (held.size() > 100) held.clear();
        pool.Maintain();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MaintainAll(&pool);
  EXPECT_EQ(pool.resident_bytes(), 0);
}

TEST(HugePageShareTest, IsAShareOfTheGivenRanges) {
  EXPECT_EQ(HugePageShare({}), 0);
  MemoryPool pool;
  const MemoryPool::Slab slab = pool.Allocate(kPage / 2);
  std::memset(slab.data(), 1, kPage / 2);
  const double share = HugePageShare(pool.ranges());
  EXPECT_GE(share, 0);
  EXPECT_LE(share, 1);
}

}  // namespace
}  // namespace monolith_tf
