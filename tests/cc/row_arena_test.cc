#include "ops/cc/table/row_arena.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace monolith_tf {
namespace {

TEST(RowArenaTest, StridesFollowTheLineRule) {
  // Bytes of a row: 16 + 4 * row_width.
  EXPECT_EQ(RowArena(1, nullptr).stride(), 32);   // 20, two a line
  EXPECT_EQ(RowArena(4, nullptr).stride(), 32);   // 32
  EXPECT_EQ(RowArena(8, nullptr).stride(), 64);   // 48 would straddle
  EXPECT_EQ(RowArena(12, nullptr).stride(), 64);  // 64
  EXPECT_EQ(RowArena(16, nullptr).stride(), 80);  // 80, padding would cost 60 %
  EXPECT_EQ(RowArena(32, nullptr).stride(),
            144);  // 144, padding would cost 33 %
  EXPECT_EQ(RowArena(28, nullptr).stride(), 128);  // 128
  EXPECT_EQ(RowArena(26, nullptr).stride(), 128);  // 120, padding costs 7 %
}

TEST(RowArenaTest, RowsDoNotOverlapAndNeverMove) {
  MemoryPool pool;
  RowArena arena(3, &pool);
  std::vector<Row*> rows;
  for (uint32_t handle = 0; handle < 5000; ++handle) {
    ASSERT_EQ(arena.Allocate(), handle);
    rows.push_back(arena.At(handle));
    rows.back()->id = handle;
    rows.back()->cut = 0;
    for (int j = 0; j < 3; ++j) rows.back()->values()[j] = handle + j;
  }
  EXPECT_EQ(arena.end(), 5000u);
  for (uint32_t handle = 0; handle < 5000; ++handle) {
    ASSERT_EQ(arena.At(handle), rows[handle]);
    ASSERT_EQ(rows[handle]->id, handle);
    for (int j = 0; j < 3; ++j) {
      ASSERT_EQ(rows[handle]->values()[j], handle + j);
    }
  }
}

TEST(RowArenaTest, FreedRowsAreMarkedAndGivenAgain) {
  MemoryPool pool;
  RowArena arena(3, &pool);
  for (int i = 0; i < 40; ++i) arena.At(arena.Allocate())->cut = 0;
  arena.Free(7);
  arena.Free(30);
  EXPECT_TRUE(arena.At(7)->is_free());
  EXPECT_FALSE(arena.At(8)->is_free());
  EXPECT_EQ((std::set<uint32_t>{arena.Allocate(), arena.Allocate()}),
            (std::set<uint32_t>{7, 30}));
  EXPECT_EQ(arena.Allocate(), 40u);
}

TEST(RowArenaTest, MemoryIsThatOfTheSegments) {
  MemoryPool pool;
  RowArena arena(12, &pool);
  EXPECT_EQ(arena.memory_bytes(), 0);
  arena.Allocate();
  EXPECT_GE(arena.memory_bytes(), 16 * 64);
  EXPECT_LE(arena.memory_bytes(), 16 * 64 + 64);
  for (int i = 1; i < 100000; ++i) arena.Allocate();
  EXPECT_GE(arena.memory_bytes(), 100000 * 64);
  EXPECT_LE(arena.memory_bytes(), 100000 * 64 + 2 * RowArena::kMaxSegmentBytes);
}

TEST(RowArenaTest, RowsLongerThanASegmentHaveOneEach) {
  MemoryPool pool;
  RowArena arena(40000, &pool);
  for (uint32_t handle = 0; handle < 20; ++handle) {
    ASSERT_EQ(arena.Allocate(), handle);
    arena.At(handle)->values()[39999] = static_cast<float>(handle);
  }
  for (uint32_t handle = 0; handle < 20; ++handle) {
    EXPECT_EQ(arena.At(handle)->values()[39999], handle);
  }
}

TEST(MemoryPoolTest, SegmentsAreZeroedAlignedAndApart) {
  MemoryPool pool;
  std::vector<MemoryPool::Segment> segments;
  for (const size_t bytes :
       {size_t{100}, size_t{40000}, size_t{40001}, MemoryPool::kExtentBytes,
        2 * MemoryPool::kExtentBytes, size_t{40000}}) {
    segments.push_back(pool.Allocate(bytes));
    char* const data = segments.back().data;
    ASSERT_NE(data, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
    for (const size_t i : {size_t{0}, bytes / 2, bytes - 1}) {
      EXPECT_EQ(data[i], 0);
      data[i] = 1;
    }
  }
  // Two segments of one extent, the second behind the first.
  EXPECT_EQ(segments[2].data - segments[1].data, 40000);
}

}  // namespace
}  // namespace monolith_tf
