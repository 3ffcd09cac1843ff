#include "ops/cc/hash/hash.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <set>

#include "ops/cc/hash/partition.h"

namespace monolith_tf {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(HashTest, Mix64HasTheDocumentedValues) {
  EXPECT_EQ(Mix64(0), 0u);
  EXPECT_EQ(Mix64(1), 0x5692161d100b05e5u);
  EXPECT_EQ(Mix64(~uint64_t{0}), 0xb4d055fcf2cbbd7bu);
  EXPECT_EQ(Mix64(uint64_t{1} << 63), 0x25c26ea579cea98au);
  EXPECT_EQ(Mix64(0x9E3779B97F4A7C15u), 0xe220a8397b1dcdafu);
}

TEST(HashTest, Fnv1a64HasTheDocumentedValues) {
  EXPECT_EQ(Fnv1a64(""), 0xcbf29ce484222325u);
  EXPECT_EQ(Fnv1a64("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(Fnv1a64("movie"), 0x2703fa92fbc5c30fu);
  EXPECT_EQ(Fnv1a64("gen\xc3\xa9"), 0x4ae5c19a724970d1u);
}

TEST(HashTest, RowKeysHaveTheDocumentedValues) {
  const uint64_t table_key = TableKey(7, "movie");
  EXPECT_EQ(table_key, 0x8b8ee407ada2f537u);
  EXPECT_EQ(IdKey(table_key, 42), 0xae17b47250235f5au);
  EXPECT_EQ(IdKey(table_key, -1), 0x54ca1248fcffa3ebu);
  EXPECT_EQ(IdKey(table_key, kMin), 0x1b3136b715105a71u);
  EXPECT_EQ(ElementBits(IdKey(table_key, 42), 0), 0xc35661e01dfcea2cu);
}

TEST(HashTest, PartitionsAndGroupsHaveTheDocumentedValues) {
  EXPECT_EQ(PartitionOf(0), 0);
  EXPECT_EQ(PartitionOf(1), 1385);
  EXPECT_EQ(PartitionOf(-1), 2893);
  EXPECT_EQ(PartitionOf(42), 2677);
  EXPECT_EQ(PartitionOf(kMin), 604);
  EXPECT_EQ(PartitionOf(kMax), 1446);
  EXPECT_EQ(GroupOf(1), 21);
  EXPECT_EQ(GroupOf(-1), 45);
  EXPECT_EQ(GroupOf(kMin), 9);
}

TEST(HashTest, OwnersHaveTheDocumentedValues) {
  EXPECT_EQ(OwnerOf(2893, 1), 0);
  EXPECT_EQ(OwnerOf(2893, 2), 1);
  EXPECT_EQ(OwnerOf(2893, 3), 2);
  EXPECT_EQ(OwnerOf(2893, 5), 3);
  EXPECT_EQ(OwnerOf(0, 4096), 0);
  EXPECT_EQ(OwnerOf(4095, 4096), 4095);
}

TEST(HashTest, KeyedHashIsABijectionThatDependsOnTheKey) {
  const KeyedHash first(1, 2);
  const KeyedHash second(1, 3);
  std::set<uint64_t> hashes;
  int num_equal = 0;
  for (int64_t id = -5000; id < 5000; ++id) {
    hashes.insert(first(id));
    num_equal += first(id) == second(id);
  }
  EXPECT_EQ(hashes.size(), 10000u);
  EXPECT_EQ(num_equal, 0);
}

TEST(HashTest, TheKeyOfTheProcessStaysTheSame) {
  EXPECT_EQ(KeyedHash::OfProcess()(42), KeyedHash::OfProcess()(42));
}

}  // namespace
}  // namespace monolith_tf
