#include "ops/cc/table/cuckoo_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/memory_pool.h"

namespace monolith_tf {
namespace {

// Entries that the tests name by handle, with the hash of each.
struct Entries {
  uint64_t operator()(uint32_t handle) const { return hashes[handle]; }
  void Prefetch(uint32_t) const {}

  bool IsFound(const CuckooIndex& index, uint32_t handle) const {
    return index.Find(hashes[handle], [handle](uint32_t found) {
      return found == handle;
    }) == handle;
  }

  std::vector<uint64_t> hashes;
};

Entries MakeEntries(uint32_t n) {
  Entries entries;
  for (uint32_t i = 0; i < n; ++i) entries.hashes.push_back(Mix64(i + 1));
  return entries;
}

TEST(CuckooIndexTest, AnEmptyIndexFindsNothing) {
  MemoryPool pool;
  const CuckooIndex index(&pool);
  EXPECT_EQ(index.CandidateInFirst(123), kNoHandle);
  EXPECT_EQ(index.CandidateInSecond(123), kNoHandle);
  EXPECT_EQ(index.memory_bytes(), 0);
  index.PrefetchFirst(123);
  index.PrefetchSecond(123);
}

TEST(CuckooIndexTest, EveryInsertedEntryIsFoundWhileTheIndexGrows) {
  const Entries entries = MakeEntries(20000);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 20000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
    ASSERT_TRUE(entries.IsFound(index, i));
    ASSERT_TRUE(entries.IsFound(index, i / 2));
    ASSERT_TRUE(entries.IsFound(index, i - i / 3));
  }
  EXPECT_EQ(index.size(), 20000);
  EXPECT_EQ(index.stash_size(), 0);
  for (uint32_t i = 0; i < 20000; ++i) ASSERT_TRUE(entries.IsFound(index, i));
}

TEST(CuckooIndexTest, AnEntryWithAnotherHashIsNotFound) {
  const Entries entries = MakeEntries(2000);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  for (uint32_t i = 1000; i < 2000; ++i) {
    EXPECT_FALSE(entries.IsFound(index, i));
  }
}

TEST(CuckooIndexTest, OneInsertOrEraseChangesAtMostTheConstantOfBuckets) {
  const Entries entries = MakeEntries(50000);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 50000; ++i) {
    const int64_t before = index.num_buckets();
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
    ASSERT_GE(index.num_buckets(), before);
    ASSERT_LE(index.num_buckets(), before + CuckooIndex::kBucketsPerInsert);
  }
  for (uint32_t i = 0; i < 49999; ++i) {
    const int64_t before = index.num_buckets();
    index.Erase(entries(i), i, entries);
    ASSERT_LE(index.num_buckets(), before);
    ASSERT_GE(index.num_buckets(), before - CuckooIndex::kBucketsPerErase);
  }
  EXPECT_EQ(index.num_buckets(), 1);
  EXPECT_TRUE(entries.IsFound(index, 49999));
}

TEST(CuckooIndexTest, OneInsertOrEraseReadsFewRows) {
  const Entries entries = MakeEntries(50000);
  struct Counted {
    uint64_t operator()(uint32_t handle) const {
      ++*count;
      return (*entries)(handle);
    }
    void Prefetch(uint32_t) const {}
    const Entries* entries;
    int64_t* count;
  };
  MemoryPool pool;
  CuckooIndex index(&pool);
  int64_t total = 0;
  int64_t most = 0;
  const auto count = [&](int64_t reads) {
    total += reads;
    most = std::max(most, reads);
  };
  for (uint32_t i = 0; i < 50000; ++i) {
    int64_t reads = 0;
    ASSERT_TRUE(index.Insert(entries(i), i, Counted{&entries, &reads}));
    count(reads);
  }
  EXPECT_LE(total, 50000);
  for (uint32_t i = 0; i < 49999; ++i) {
    int64_t reads = 0;
    index.Erase(entries(i), i, Counted{&entries, &reads});
    count(reads);
  }
  EXPECT_LE(total, 60000);
  // A bucket, and chains of moved entries.
  EXPECT_LE(most, 30);
}

TEST(CuckooIndexTest, TheLoadStaysBetweenItsBounds) {
  const Entries entries = MakeEntries(300000);
  MemoryPool pool;
  CuckooIndex index(&pool);
  const auto load = [&index] {
    return static_cast<double>(index.size()) /
           (index.num_buckets() * CuckooIndex::kEntriesPerBucket);
  };
  double highest = 0;
  for (uint32_t i = 0; i < 300000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
    ASSERT_LE(index.stash_size(), 2);
    if (i < 1000) continue;
    ASSERT_LE(load(), CuckooIndex::kMaxLoad + 0.01);
    ASSERT_GE(load(), 0.57);
    highest = std::max(highest, load());
    if (load() >= 0.86) {
      const int64_t chunk = CuckooIndex::kChunkBuckets * 64;
      EXPECT_LE(index.memory_bytes(), i * 7.6 + chunk);
    }
  }
  EXPECT_GE(highest, CuckooIndex::kMaxLoad - 0.01);
  EXPECT_EQ(index.stash_size(), 0);
  for (uint32_t i = 0; i < 298000; ++i) {
    index.Erase(entries(i), i, entries);
    ASSERT_GE(load(), 0.42);
  }
  EXPECT_EQ(index.stash_size(), 0);
  EXPECT_LE(index.memory_bytes(), 2000 * 15 + 3 * 16384);
  for (uint32_t i = 298000; i < 300000; ++i) {
    ASSERT_TRUE(entries.IsFound(index, i));
  }
}

TEST(CuckooIndexTest, EntriesAreInTheEmptierBucket) {
  const Entries entries = MakeEntries(100000);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 100000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  int64_t num_first = 0;
  for (uint32_t i = 0; i < 100000; ++i) {
    num_first += index.IsInFirst(entries(i), i);
  }
  EXPECT_GE(num_first, 40000);
  EXPECT_LT(num_first, 100000);
}

TEST(CuckooIndexTest, SizeOscillatingALittleChangesNoBuckets) {
  const Entries entries = MakeEntries(20000);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 10000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  const int64_t buckets = index.num_buckets();
  for (int round = 0; round < 5; ++round) {
    for (uint32_t i = 0; i < 2000; ++i) index.Erase(entries(i), i, entries);
    for (uint32_t i = 0; i < 2000; ++i) {
      ASSERT_TRUE(index.Insert(entries(i), i, entries));
    }
    EXPECT_EQ(index.num_buckets(), buckets);
  }
}

TEST(CuckooIndexTest, ReplacedHandlesAreFound) {
  Entries entries = MakeEntries(20000);
  entries.hashes.resize(40000);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 20000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
    // The top bit is the caller's.
    if (i % 2 == 0) index.Replace(entries(i), i, i | 0x80000000u);
    if (i % 2 == 0) index.Replace(entries(i), i | 0x80000000u, i);
    if (i % 3 == 0) {
      entries.hashes[20000 + i] = entries.hashes[i];
      index.Replace(entries(i), i, 20000 + i);
    }
  }
  for (uint32_t i = 0; i < 20000; ++i) {
    ASSERT_EQ(entries.IsFound(index, i), i % 3 != 0);
    ASSERT_EQ(
        entries.hashes[20000 + i] != 0 && entries.IsFound(index, 20000 + i),
        i % 3 == 0);
  }
}

TEST(CuckooIndexTest, ErasedEntriesAreGoneAndTheirPlacesAreUsedAgain) {
  const Entries entries = MakeEntries(30000);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  // A window of 1,000 live entries slides over the rest.
  for (uint32_t i = 1000; i < 30000; ++i) {
    index.Erase(entries(i - 1000), i - 1000, entries);
    ASSERT_FALSE(entries.IsFound(index, i - 1000));
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  EXPECT_EQ(index.size(), 1000);
  EXPECT_LE(index.num_buckets(), 256);
  for (uint32_t i = 29000; i < 30000; ++i) {
    ASSERT_TRUE(entries.IsFound(index, i));
  }
}

TEST(CuckooIndexTest, HashesThatAllMeetNeitherLoopNorDropNorExplode) {
  Entries entries;
  entries.hashes.assign(500, 0x123456789ABCDEFu);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 500; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
    for (uint32_t j = 0; j <= i; ++j) {
      ASSERT_TRUE(entries.IsFound(index, j)) << j << " of " << i;
    }
  }
  EXPECT_LE(index.num_buckets(), 128);
  for (uint32_t i = 0; i < 500; i += 2) index.Erase(entries(i), i, entries);
  for (uint32_t i = 0; i < 500; ++i) {
    EXPECT_EQ(entries.IsFound(index, i), i % 2 == 1);
  }
}

TEST(CuckooIndexTest, ClearEmptiesAndHandsOutTheMemory) {
  const Entries entries = MakeEntries(5000);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 5000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  EXPECT_FALSE(index.Clear().empty());
  EXPECT_EQ(index.size(), 0);
  EXPECT_EQ(index.memory_bytes(), 0);
  EXPECT_FALSE(entries.IsFound(index, 17));
  ASSERT_TRUE(index.Insert(entries(17), 17, entries));
  EXPECT_TRUE(entries.IsFound(index, 17));
}

TEST(CuckooIndexTest, ClearGivesTheMemoryOfTheStashBack) {
  Entries entries;
  entries.hashes.assign(100, 0x123456789ABCDEFu);
  MemoryPool pool;
  CuckooIndex index(&pool);
  for (uint32_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  EXPECT_GT(index.stash_size(), 0);
  index.Clear();
  EXPECT_EQ(index.memory_bytes(), 0);
}

TEST(CuckooIndexTest, AReservedIndexNeitherSplitsNorShrinksBelow) {
  const Entries entries = MakeEntries(30000);
  for (const uint32_t n : {1u, 7u, 100u, 5000u, 20000u}) {
    MemoryPool pool;
    CuckooIndex index(&pool);
    ASSERT_TRUE(index.Reserve(n));
    const int64_t num_buckets = index.num_buckets();
    // Emptied, into chunks that were made before.
    std::vector<MemoryPool::Slab> chunks = index.MakeChunks(n);
    EXPECT_EQ(static_cast<int64_t>(chunks.size()),
              num_buckets / CuckooIndex::kChunkBuckets);
    index.Clear();
    ASSERT_TRUE(index.Reserve(n, std::move(chunks)));
    EXPECT_EQ(index.num_buckets(), num_buckets);
    // No more than an index has that grew to there.
    CuckooIndex grown(&pool);
    for (uint32_t i = 0; i <= n; ++i) {
      ASSERT_TRUE(grown.Insert(entries(i), i, entries));
    }
    EXPECT_LE(num_buckets, grown.num_buckets()) << n;
    for (uint32_t i = 0; i < n; ++i) {
      ASSERT_TRUE(index.Insert(entries(i), i, entries));
    }
    EXPECT_EQ(index.num_buckets(), num_buckets) << n;
    for (uint32_t i = n; i < 30000; ++i) {
      ASSERT_TRUE(index.Insert(entries(i), i, entries));
    }
    EXPECT_GT(index.num_buckets(), num_buckets);
    for (uint32_t i = 0; i < 30000; ++i) {
      ASSERT_TRUE(entries.IsFound(index, i));
    }
    for (uint32_t i = 0; i < 30000; ++i) {
      index.Erase(entries(i), i, entries);
      ASSERT_GE(index.num_buckets(), num_buckets);
    }
    EXPECT_EQ(index.size(), 0);
    ASSERT_TRUE(index.Insert(entries(3), 3, entries));
    EXPECT_TRUE(entries.IsFound(index, 3));
    index.Clear();
    EXPECT_EQ(index.num_buckets(), 0);
    // Directories stay.
    EXPECT_LE(index.memory_bytes(), 1024);
  }
}

TEST(CuckooIndexTest, RandomOperationsAgreeWithAStandardMap) {
  std::mt19937_64 random(3);
  for (int stripe = 0; stripe < 6; ++stripe) {
    const bool is_crowded = stripe % 2 == 0;
    // Few distinct hash bits: tags and buckets meet often.
    Entries entries;
    for (int i = 0; i < 10000; ++i) {
      entries.hashes.push_back(random() &
                               (is_crowded ? 0x00003C000000FFFFu : ~0ull));
    }
    MemoryPool pool;
    CuckooIndex index(&pool, stripe);
    std::unordered_map<uint32_t, bool> model;
    for (int step = 0; step < 200000; ++step) {
      // Tides, over all sizes.
      const bool is_flood = (step / 50000) % 2 == 0;
      const uint32_t handle = random() % entries.hashes.size();
      bool& is_there = model[handle];
      ASSERT_EQ(entries.IsFound(index, handle), is_there);
      if (is_there == is_flood && random() % 8 != 0) continue;
      if (is_there) {
        index.Erase(entries(handle), handle, entries);
      } else {
        ASSERT_TRUE(index.Insert(entries(handle), handle, entries));
      }
      is_there = !is_there;
      ASSERT_EQ(entries.IsFound(index, handle), is_there);
      if (step % 10007 != 0) continue;
      for (const auto& [other, is_other_there] : model) {
        ASSERT_EQ(entries.IsFound(index, other), is_other_there);
      }
    }
    int64_t size = 0;
    for (const auto& [handle, is_there] : model) {
      EXPECT_EQ(entries.IsFound(index, handle), is_there);
      size += is_there;
    }
    EXPECT_EQ(index.size(), size);
  }
}

}  // namespace
}  // namespace monolith_tf
