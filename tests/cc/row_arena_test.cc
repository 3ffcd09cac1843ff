#include "ops/cc/table/row_arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "ops/cc/memory/memory_pool.h"

namespace monolith_tf {
namespace {

// Fills a record with bytes that tell `value`, the last ones too.
void Write(const RowArena& arena, uint32_t handle, size_t bytes,
           uint64_t value) {
  for (size_t i = 0; i < bytes; ++i) {
    arena.At(handle)[i] = static_cast<char>(value >> 8 * (i % 8));
  }
}

bool Holds(const RowArena& arena, uint32_t handle, size_t bytes,
           uint64_t value) {
  for (size_t i = 0; i < bytes; ++i) {
    if (arena.At(handle)[i] != static_cast<char>(value >> 8 * (i % 8))) {
      return false;
    }
  }
  return true;
}

TEST(RowArenaTest, StridesFollowTheLineRule) {
  EXPECT_EQ(RowArena(8, nullptr).stride(), 8);
  EXPECT_EQ(RowArena(12, nullptr).stride(), 16);
  EXPECT_EQ(RowArena(20, nullptr).stride(), 32);  // 24 would straddle
  EXPECT_EQ(RowArena(32, nullptr).stride(), 32);
  EXPECT_EQ(RowArena(40, nullptr).stride(), 40);  // padding would cost 60 %
  EXPECT_EQ(RowArena(48, nullptr).stride(), 64);  // 48 would straddle
  EXPECT_EQ(RowArena(64, nullptr).stride(), 64);
  EXPECT_EQ(RowArena(66, nullptr).stride(), 72);
  EXPECT_EQ(RowArena(80, nullptr).stride(), 80);    // padding: 60 %
  EXPECT_EQ(RowArena(144, nullptr).stride(), 144);  // padding: 33 %
  EXPECT_EQ(RowArena(120, nullptr).stride(), 128);  // padding: 7 %
  EXPECT_EQ(RowArena(128, nullptr).stride(), 128);
}

TEST(RowArenaTest, MaxLinesIsWhatTheWorstRecordLiesOn) {
  for (const size_t record_bytes : {8, 16, 32, 40, 64, 72, 80, 144, 208, 528}) {
    MemoryPool pool;
    RowArena arena(record_bytes, &pool);
    for (int i = 0; i < 1000; ++i) arena.Allocate();
    for (size_t bytes = 1; bytes <= record_bytes; ++bytes) {
      uintptr_t most = 0;
      for (uint32_t handle = 0; handle < arena.end(); ++handle) {
        const auto begin = reinterpret_cast<uintptr_t>(arena.At(handle));
        const uintptr_t last = begin + bytes - 1;
        most = std::max(most, last / 64 - begin / 64 + 1);
      }
      EXPECT_EQ(arena.MaxLines(bytes), most) << record_bytes << ", " << bytes;
    }
  }
}

TEST(RowArenaTest, RecordsDoNotOverlap) {
  MemoryPool pool;
  RowArena arena(28, &pool);
  for (uint32_t handle = 0; handle < 20000; ++handle) {
    ASSERT_EQ(arena.Allocate(), handle);
    Write(arena, handle, 28, handle);
  }
  EXPECT_EQ(arena.end(), 20000u);
  EXPECT_EQ(arena.size(), 20000);
  for (uint32_t handle = 0; handle < 20000; ++handle) {
    ASSERT_TRUE(Holds(arena, handle, 28, handle));
    ASSERT_TRUE(arena.IsUsed(handle));
  }
}

TEST(RowArenaTest, FreedRecordsAreGivenAgainTheLowestFirst) {
  MemoryPool pool;
  RowArena arena(28, &pool);
  for (int i = 0; i < 10000; ++i) arena.Allocate();
  arena.Free(9000);
  arena.Free(7);
  arena.Free(30);
  EXPECT_FALSE(arena.IsUsed(7));
  EXPECT_TRUE(arena.IsUsed(8));
  EXPECT_EQ(arena.Allocate(), 7u);
  EXPECT_EQ(arena.Allocate(), 30u);
  EXPECT_EQ(arena.Allocate(), 9000u);
  EXPECT_EQ(arena.Allocate(), 10000u);
}

TEST(RowArenaTest, NextUsedSkipsFreeRecords) {
  MemoryPool pool;
  RowArena arena(8, &pool);
  EXPECT_EQ(arena.NextUsed(0), 0u);
  for (int i = 0; i < 1000; ++i) arena.Allocate();
  for (uint32_t handle = 3; handle < 900; ++handle) arena.Free(handle);
  EXPECT_EQ(arena.NextUsed(2), 2u);
  EXPECT_EQ(arena.NextUsed(3), 900u);
  EXPECT_EQ(arena.NextUsed(899), 900u);
  EXPECT_EQ(arena.NextUsed(999), 999u);
  EXPECT_EQ(arena.NextUsed(1000), 1000u);
  for (uint32_t handle = 900; handle < 1000; ++handle) arena.Free(handle);
  EXPECT_EQ(arena.NextUsed(3), arena.end());
}

TEST(RowArenaTest, CompactClosesTheGaps) {
  MemoryPool pool;
  RowArena arena(8, &pool);
  for (int i = 0; i < 6; ++i) arena.Allocate();
  arena.Free(1);
  arena.Free(3);
  arena.Free(4);
  std::vector<std::pair<uint32_t, uint32_t>> moves;
  while (arena.Compact(1, [&](uint32_t from, uint32_t to) {
    EXPECT_FALSE(arena.IsUsed(from));
    EXPECT_TRUE(arena.IsUsed(to));
    moves.emplace_back(from, to);
  }) > 0) {
  }
  // 0 . 2 . . 5: 5 goes to 1, then 2 is the last.
  EXPECT_EQ(moves, (std::vector<std::pair<uint32_t, uint32_t>>{{5, 1}}));
  EXPECT_EQ(arena.end(), 3u);
  EXPECT_EQ(arena.Allocate(), 3u);
}

TEST(RowArenaTest, RandomOperationsAgreeWithAMap) {
  constexpr size_t kBytes = 20;
  constexpr int kMaxMoves = 5;
  std::mt19937_64 random(1);
  MemoryPool pool;
  RowArena arena(kBytes, &pool);
  std::map<uint32_t, uint64_t> model;  // The value of each used record.
  int64_t num_moves = 0;
  for (int step = 0; step < 300000; ++step) {
    // Tides: for a while more are allocated than freed, then fewer.
    const bool is_flood = (step / 30000) % 2 == 0;
    const uint64_t draw = random() % 100;
    if (draw < (is_flood ? 60 : 20) || model.empty()) {
      const uint32_t handle = arena.Allocate();
      ASSERT_LT(handle, RowArena::kMaxRecords);
      const uint64_t value = random();
      ASSERT_TRUE(model.emplace(handle, value).second);
      Write(arena, handle, kBytes, value);
    } else if (draw < 90) {
      auto victim = model.lower_bound(random() % (arena.end() + 1));
      if (victim == model.end()) victim = model.begin();
      ASSERT_TRUE(Holds(arena, victim->first, kBytes, victim->second));
      arena.Free(victim->first);
      model.erase(victim);
    } else if (step % 7 == 0 || arena.has_slack()) {
      int moves = 0;
      const int work =
          arena.Compact(kMaxMoves, [&](uint32_t from, uint32_t to) {
            ASSERT_LT(to, from);
            const auto moved = model.extract(from);
            ASSERT_FALSE(moved.empty());
            ASSERT_TRUE(model.emplace(to, moved.mapped()).second);
            ASSERT_TRUE(Holds(arena, to, kBytes, moved.mapped()));
            ++moves;
          });
      ASSERT_LE(moves, work);
      ASSERT_LE(work, kMaxMoves);
      num_moves += moves;
    }
    ASSERT_EQ(arena.size(), static_cast<int64_t>(model.size()));
    ASSERT_TRUE(model.empty() || model.rbegin()->first < arena.end());
  }
  EXPECT_GT(num_moves, 10000);
  uint32_t handle = 0;
  for (const auto& [used, value] : model) {
    handle = arena.NextUsed(handle);
    ASSERT_EQ(handle, used);
    ASSERT_TRUE(Holds(arena, handle, kBytes, value));
    ++handle;
  }
  EXPECT_EQ(arena.NextUsed(handle), arena.end());
}

TEST(RowArenaTest, MemoryIsThatOfTheSlabs) {
  MemoryPool pool;
  RowArena arena(64, &pool);
  EXPECT_EQ(arena.memory_bytes(), 0);
  arena.Allocate();
  EXPECT_GE(arena.memory_bytes(), 16 * 64);
  EXPECT_LE(arena.memory_bytes(), 16 * 64 + 256);
  for (int i = 1; i < 100000; ++i) arena.Allocate();
  EXPECT_GE(arena.memory_bytes(), 100000 * 64);
  EXPECT_LE(arena.memory_bytes(),
            100000 * 64 + 2 * RowArena::kMaxSlabBytes + 40000);
}

TEST(RowArenaTest, AnEmptiedArenaKeepsItsBoundOfSegments) {
  MemoryPool pool;
  RowArena arena(64, &pool, 4096);
  EXPECT_EQ(arena.max_slab_bytes(), 4096);
  arena.Free(arena.Allocate());
  while (arena.Compact(100, [](uint32_t, uint32_t) {}) > 0) {
  }
  EXPECT_EQ(arena.num_slabs(), 0);
  EXPECT_EQ(arena.max_slab_bytes(), 4096);
}

TEST(RowArenaTest, RecordsLongerThanASlabHaveOneEach) {
  MemoryPool pool;
  for (const size_t bytes : {size_t{160000}, size_t{3000000}}) {
    RowArena arena(bytes, &pool);
    for (uint32_t handle = 0; handle < 20; ++handle) {
      ASSERT_EQ(arena.Allocate(), handle);
      Write(arena, handle, bytes, handle);
    }
    for (uint32_t handle = 0; handle < 20; ++handle) {
      EXPECT_TRUE(Holds(arena, handle, bytes, handle));
    }
  }
}

TEST(RowArenaTest, MemoryOfFreedRecordsReturnsToTheSystem) {
  constexpr int kNumArenas = 8;  // As the stripes of a table, from one pool.
  constexpr int kNumRecords = 25000;
  constexpr size_t kBytes = 144;
  MemoryPool pool;
  std::vector<RowArena> arenas;
  for (int i = 0; i < kNumArenas; ++i) arenas.emplace_back(kBytes, &pool);
  for (int i = 0; i < kNumRecords; ++i) {
    for (RowArena& arena : arenas) {
      const uint32_t handle = arena.Allocate();
      Write(arena, handle, kBytes, handle);
    }
    while (pool.Maintain()) {
    }
  }
  const int64_t full = pool.resident_bytes();
  EXPECT_GE(full, int64_t{kNumArenas} * kNumRecords * kBytes);
  EXPECT_LE(full, int64_t{kNumArenas} * kNumRecords * kBytes * 1.2);

  std::mt19937_64 random(2);
  for (RowArena& arena : arenas) {
    std::map<uint32_t, uint32_t> values;  // Value by handle.
    for (uint32_t handle = 0; handle < kNumRecords; ++handle) {
      if (random() % 10 == 0) {
        values[handle] = handle;
      } else {
        arena.Free(handle);
      }
    }
    EXPECT_TRUE(arena.has_slack());
    while (arena.Compact(64, [&](uint32_t from, uint32_t to) {
      values[to] = values.at(from);
      values.erase(from);
    }) > 0) {
      pool.Maintain();
    }
    EXPECT_FALSE(arena.has_slack());
    EXPECT_EQ(arena.end(), values.size());
    for (const auto& [handle, value] : values) {
      ASSERT_TRUE(Holds(arena, handle, kBytes, value));
    }
  }
  while (pool.Maintain()) {
  }
  EXPECT_LE(pool.resident_bytes(), full / 10 + 5 * (2 << 20));
  for (RowArena& arena : arenas) arena = RowArena(kBytes, &pool);
  while (pool.Maintain()) {
  }
  EXPECT_EQ(pool.resident_bytes(), 0);
  EXPECT_TRUE(pool.ranges().empty());
}

}  // namespace
}  // namespace monolith_tf
