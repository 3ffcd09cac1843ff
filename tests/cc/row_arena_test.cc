#include "ops/cc/table/row_arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

namespace monolith_tf {
namespace {

TEST(RowArenaTest, StridesFollowTheLineRule) {
  // Bytes of a row: 16 + 4 * row_width.
  EXPECT_EQ(RowArena(1).stride(), 32);    // 20, two a line
  EXPECT_EQ(RowArena(4).stride(), 32);    // 32
  EXPECT_EQ(RowArena(8).stride(), 64);    // 48 would straddle
  EXPECT_EQ(RowArena(12).stride(), 64);   // 64
  EXPECT_EQ(RowArena(16).stride(), 80);   // 80, padding would cost 60 %
  EXPECT_EQ(RowArena(32).stride(), 144);  // 144, padding would cost 33 %
  EXPECT_EQ(RowArena(28).stride(), 128);  // 128
  EXPECT_EQ(RowArena(26).stride(), 128);  // 120, padding costs 7 %
}

TEST(RowArenaTest, RowsDoNotOverlapAndNeverMove) {
  RowArena arena(3);
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
  RowArena arena(3);
  for (int i = 0; i < 40; ++i) arena.At(arena.Allocate())->cut = 0;
  arena.Free(7);
  arena.Free(30);
  EXPECT_TRUE(arena.At(7)->is_free());
  EXPECT_FALSE(arena.At(8)->is_free());
  EXPECT_EQ((std::set<uint32_t>{arena.Allocate(), arena.Allocate()}),
            (std::set<uint32_t>{7, 30}));
  EXPECT_EQ(arena.Allocate(), 40u);
}

TEST(RowArenaTest, MemoryIsCountedByTouchedPages) {
  RowArena arena(12);
  EXPECT_EQ(arena.memory_bytes(), 0);
  arena.Allocate();
  EXPECT_EQ(arena.memory_bytes(), 16 * 64);
  for (int i = 1; i < 100000; ++i) arena.Allocate();
  // Chunks below 100,000 rows end at 16 * (2^12 - 1) = 65,520 rows; the next
  // of 65,536 is resident in huge pages of what is used.
  EXPECT_GE(arena.memory_bytes(), 100000 * 64);
  EXPECT_LE(arena.memory_bytes(), 100000 * 64 + (2 << 20) + 8 * 4096);
}

}  // namespace
}  // namespace monolith_tf
