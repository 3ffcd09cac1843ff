#include "ops/cc/table/cuckoo_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <unordered_map>
#include <vector>

#include "ops/cc/table/hash.h"

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
  const CuckooIndex index;
  EXPECT_EQ(index.Candidate(123), kNoHandle);
  EXPECT_EQ(index.memory_bytes(), 0);
  index.Prefetch(123);
}

TEST(CuckooIndexTest, EveryInsertedEntryIsFoundWhileTheIndexGrows) {
  const Entries entries = MakeEntries(20000);
  CuckooIndex index;
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
  CuckooIndex index;
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  for (uint32_t i = 1000; i < 2000; ++i) {
    EXPECT_FALSE(entries.IsFound(index, i));
  }
}

TEST(CuckooIndexTest, OneInsertMovesAtMostTheConstantNumberOfBuckets) {
  const Entries entries = MakeEntries(50000);
  CuckooIndex index;
  int num_growths = 0;
  for (uint32_t i = 0; i < 50000; ++i) {
    const int64_t before = index.num_buckets_to_move();
    const int64_t buckets = index.num_buckets();
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
    if (index.num_buckets() != buckets) {
      // A growth starts only when the last one is done.
      ASSERT_LE(before, CuckooIndex::kBucketsPerInsert);
      ++num_growths;
    } else {
      ASSERT_GE(index.num_buckets_to_move(),
                before - CuckooIndex::kBucketsPerInsert);
    }
  }
  EXPECT_GE(num_growths, 10);
}

TEST(CuckooIndexTest, TheIndexIsDenseWhenItGrows) {
  const Entries entries = MakeEntries(200000);
  CuckooIndex index;
  for (uint32_t i = 0; i < 200000; ++i) {
    const int64_t buckets = index.num_buckets();
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
    if (index.num_buckets() != buckets && buckets >= 16) {
      EXPECT_GE(index.size(), buckets * CuckooIndex::kSlots * 0.92);
    }
  }
}

TEST(CuckooIndexTest, ErasedEntriesAreGoneAndTheirSlotsAreUsedAgain) {
  const Entries entries = MakeEntries(30000);
  CuckooIndex index;
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  // A window of 1,000 live entries slides over the rest.
  for (uint32_t i = 1000; i < 30000; ++i) {
    index.Erase(entries(i - 1000), i - 1000);
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
  CuckooIndex index;
  for (uint32_t i = 0; i < 500; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
    for (uint32_t j = 0; j <= i; ++j) {
      ASSERT_TRUE(entries.IsFound(index, j)) << j << " of " << i;
    }
  }
  EXPECT_LE(index.num_buckets(), 128);
  for (uint32_t i = 0; i < 500; i += 2) index.Erase(entries(i), i);
  for (uint32_t i = 0; i < 500; ++i) {
    EXPECT_EQ(entries.IsFound(index, i), i % 2 == 1);
  }
}

TEST(CuckooIndexTest, ClearEmptiesAndHandsOutTheMemory) {
  const Entries entries = MakeEntries(5000);
  CuckooIndex index;
  for (uint32_t i = 0; i < 5000; ++i) {
    ASSERT_TRUE(index.Insert(entries(i), i, entries));
  }
  std::vector<MemoryBlock> garbage;
  index.Clear(&garbage);
  EXPECT_FALSE(garbage.empty());
  EXPECT_EQ(index.size(), 0);
  EXPECT_EQ(index.memory_bytes(), 0);
  EXPECT_FALSE(entries.IsFound(index, 17));
  ASSERT_TRUE(index.Insert(entries(17), 17, entries));
  EXPECT_TRUE(entries.IsFound(index, 17));
}

TEST(CuckooIndexTest, RandomOperationsAgreeWithAStandardMap) {
  std::mt19937_64 random(3);
  // Few distinct hash bits: tags and buckets meet often.
  Entries entries;
  for (int i = 0; i < 4000; ++i) {
    entries.hashes.push_back(random() & 0x00003C000000FFFFu);
  }
  CuckooIndex index;
  std::unordered_map<uint32_t, bool> model;
  for (int step = 0; step < 100000; ++step) {
    const uint32_t handle = random() % entries.hashes.size();
    bool& is_there = model[handle];
    ASSERT_EQ(entries.IsFound(index, handle), is_there);
    if (is_there) {
      index.Erase(entries(handle), handle);
    } else {
      ASSERT_TRUE(index.Insert(entries(handle), handle, entries));
    }
    is_there = !is_there;
  }
  int64_t size = 0;
  for (const auto& [handle, is_there] : model) {
    EXPECT_EQ(entries.IsFound(index, handle), is_there);
    size += is_there;
  }
  EXPECT_EQ(index.size(), size);
}

}  // namespace
}  // namespace monolith_tf
