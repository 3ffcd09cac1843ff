// Ids that somebody chose to be hard on a hash table.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ops/cc/hash/hash.h"
#include "ops/cc/table/table.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

constexpr int64_t kNumIds = 100000;

// x for y = x ^ (x >> shift).
uint64_t UndoShift(uint64_t y, int shift) {
  uint64_t x = y;
  for (int i = shift; i < 64; i += shift) x = y ^ (x >> shift);
  return x;
}

// The inverse of an odd number modulo 2^64, by Newton's method.
uint64_t InverseOf(uint64_t odd) {
  uint64_t inverse = odd;
  for (int i = 0; i < 6; ++i) inverse *= 2 - odd * inverse;
  return inverse;
}

// The id whose Mix64, which everybody knows, is this.
int64_t Unmix(uint64_t mixed) {
  mixed = UndoShift(mixed, 31) * InverseOf(0x94D049BB133111EBULL);
  mixed = UndoShift(mixed, 27) * InverseOf(0xBF58476D1CE4E5B9ULL);
  return static_cast<int64_t>(UndoShift(mixed, 30));
}

struct Attack {
  std::string name;
  std::function<int64_t(uint64_t)> id_of;
};

std::vector<Attack> Attacks() {
  std::vector<Attack> attacks = {
      {"sequential", [](uint64_t i) { return static_cast<int64_t>(i); }},
      {"negative", [](uint64_t i) { return -1 - static_cast<int64_t>(i); }},
      {"feature_in_front",
       [](uint64_t i) {
         return static_cast<int64_t>((i % 50) << 48 | i / 50);
       }},
      {"bits_reversed",
       [](uint64_t i) {
         uint64_t id = 0;
         for (int bit = 0; bit < 64; ++bit) id |= (i >> bit & 1) << (63 - bit);
         return static_cast<int64_t>(id);
       }},
      // All of one partition, so of one shard: what a server really sees.
      {"one_partition",
       [](uint64_t i) {
         return Unmix(uint64_t{0xABC} << 52 | i * 0x2545F4914F);
       }},
      // Equal in all that a table without a key would look at.
      {"mixed_low_bits_equal", [](uint64_t i) { return Unmix(i << 42); }},
      {"mixed_high_bits_equal", [](uint64_t i) { return Unmix(i); }},
      {"mixed_twice",
       [](uint64_t i) { return Unmix(static_cast<uint64_t>(Unmix(i << 40))); }},
  };
  for (const int shift : {1, 8, 16, 32, 40, 46}) {
    attacks.push_back(
        {"multiples_of_2_to_" + std::to_string(shift),
         [shift](uint64_t i) { return static_cast<int64_t>(i << shift); }});
  }
  return attacks;
}

TEST(HashAttackTest, UnmixUndoesMix64) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t hash = random();
    ASSERT_EQ(Mix64(static_cast<uint64_t>(Unmix(hash))), hash);
  }
}

class HashAttackTest : public ::testing::TestWithParam<Attack> {};

TEST_P(HashAttackTest, ChosenIdsAreFoundAsFastAsRandomOnes) {
  std::vector<int64_t> ids(kNumIds);
  for (int64_t i = 0; i < kNumIds; ++i) ids[i] = GetParam().id_of(i);
  ASSERT_EQ(std::set<int64_t>(ids.begin(), ids.end()).size(), ids.size());
  const auto table = MakeTable(SgdConfig(1));
  ASSERT_TRUE(Apply(table.get(), {ids}).ok());
  const TableStats stats = table->stats();
  EXPECT_EQ(stats.num_rows, kNumIds);
  // An id is in one of two buckets, unless it is in the stash.
  EXPECT_EQ(stats.index_stash, 0);
  // An insert takes the emptier one: of random ids half lie in the first.
  EXPECT_NEAR(stats.probed_in_first, 0.55 * stats.probed_entries,
              0.15 * stats.probed_entries);
  // All stripes have their share, and none grew beyond it.
  EXPECT_EQ(stats.probed_entries, 64 * Table::kNumStripes);
  EXPECT_LT(stats.index_capacity, 2.6 * kNumIds);
  const std::vector<bool> exists = Exists(*table, ids);
  for (int64_t i = 0; i < kNumIds; ++i) ASSERT_TRUE(exists[i]) << ids[i];
  // No chunk of an iteration is longer than asked for.
  int64_t num_exported = 0;
  for (int64_t cursor = 0; cursor >= 0;) {
    std::vector<int64_t> chunk;
    cursor = table->ExportChunk(cursor, 5000, &chunk, nullptr, nullptr);
    EXPECT_LE(chunk.size(), 5001u);
    num_exported += chunk.size();
  }
  EXPECT_EQ(num_exported, kNumIds);
  EXPECT_EQ(table->Remove(ids.data(), kNumIds), kNumIds);
  EXPECT_EQ(table->stats().index_entries, 0);
}

INSTANTIATE_TEST_SUITE_P(Ids, HashAttackTest, ::testing::ValuesIn(Attacks()),
                         [](const ::testing::TestParamInfo<Attack>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace monolith_tf
