#include "ops/cc/features/id_router.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "ops/cc/hash/hash.h"
#include "ops/cc/hash/partition.h"

namespace monolith_tf {
namespace {

TEST(IdRouterTest, DistinctIdsKeepTheOrderInWhichTheyFirstStand) {
  IdRouter router(1);
  const std::vector<int64_t> ids = {5, -1, 5, 0, -1, 5};
  std::vector<int64_t> places(ids.size());
  router.Route(ids.data(), ids.size(), places.data());
  EXPECT_EQ(router.distinct_ids(), (std::vector<int64_t>{5, -1, 0}));
  EXPECT_EQ(places, (std::vector<int64_t>{0, 1, 0, 2, 1, 0}));
  EXPECT_EQ(router.shard_sizes(), (std::vector<int64_t>{3}));
}

TEST(IdRouterTest, CountsAndIndexOfAnUpdate) {
  IdRouter router(1);
  const std::vector<int64_t> ids = {5, -1, 5, 0, -1, 5};
  router.RouteAndCount(ids.data(), ids.size());
  EXPECT_EQ(router.counts(), (std::vector<int64_t>{3, 2, 1}));
  EXPECT_EQ(router.distinct_index(), (std::vector<int64_t>{0, 1, 0, 2, 1, 0}));
}

TEST(IdRouterTest, IdsAddedInPartsAreThoseOfOneBatch) {
  for (const int num_shards : {1, 3}) {
    const std::vector<int64_t> ids = {5, -1, 5, 0, -1, 5, 8, 0};
    IdRouter whole(num_shards);
    std::vector<int64_t> expected(ids.size());
    whole.Route(ids.data(), ids.size(), expected.data());
    IdRouter router(num_shards);
    router.Start(ids.size());
    std::vector<int64_t> places(ids.size());
    router.Add(ids.data(), 3, places.data());
    router.Add(ids.data() + 3, 0, places.data() + 3);
    router.Add(ids.data() + 3, 5, places.data() + 3);
    EXPECT_EQ(places, expected);
    EXPECT_EQ(router.distinct_ids(), whole.distinct_ids());
    EXPECT_EQ(router.shard_sizes(), whole.shard_sizes());
  }
}

TEST(IdRouterTest, NoIdsAreFine) {
  IdRouter router(2);
  router.Route(nullptr, 0, nullptr);
  EXPECT_EQ(router.num_distinct(), 0);
  EXPECT_EQ(router.shard_sizes(), (std::vector<int64_t>{0, 0}));
}

TEST(IdRouterTest, PlacesAgreeWithAMapOnAnyNumberOfShards) {
  std::vector<int64_t> ids = {std::numeric_limits<int64_t>::min(),
                              std::numeric_limits<int64_t>::max(), 0, -1};
  for (uint64_t i = 0; i < 3000; ++i) {
    ids.push_back(static_cast<int64_t>(Mix64(Mix64(i) % 1000)));
  }
  for (const int num_shards : {1, 2, 7, kNumPartitions}) {
    IdRouter router(num_shards);
    std::vector<int64_t> places(ids.size());
    router.Route(ids.data(), ids.size(), places.data());
    std::map<int64_t, int64_t> expected;
    std::vector<int64_t> sizes(num_shards, 0);
    for (size_t i = 0; i < ids.size(); ++i) {
      const int shard = OwnerOf(PartitionOf(ids[i]), num_shards);
      const auto found = expected.find(ids[i]);
      if (found == expected.end()) {
        expected[ids[i]] = MakePlace(shard, sizes[shard]++);
      }
      EXPECT_EQ(places[i], expected[ids[i]]);
    }
    EXPECT_EQ(router.shard_sizes(), sizes);
  }
}

TEST(IdRouterTest, WithoutTheSearchAllIdsStandInOrder) {
  const std::vector<int64_t> ids = {5, -1, 5, 0, 5, -1};
  std::vector<int64_t> places(ids.size());
  IdRouter one(1, /*distinct=*/false);
  // Twice: Start forgets.
  for (int round = 0; round < 2; ++round) {
    one.Start(ids.size());
    one.Add(ids.data(), 2, places.data());
    one.Add(ids.data() + 2, 4, places.data() + 2);
    EXPECT_EQ(one.distinct_ids(), ids);
    EXPECT_EQ(places, std::vector<int64_t>({0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(one.shard_sizes(), std::vector<int64_t>({6}));
  }
  IdRouter several(7, /*distinct=*/false);
  several.Route(ids.data(), ids.size(), places.data());
  std::vector<int64_t> sizes(7, 0);
  for (size_t i = 0; i < ids.size(); ++i) {
    const int shard = OwnerOf(PartitionOf(ids[i]), 7);
    EXPECT_EQ(places[i], MakePlace(shard, sizes[shard]++));
    EXPECT_EQ(several.PlaceOf(i), places[i]);
  }
  EXPECT_EQ(several.shard_sizes(), sizes);
}

}  // namespace
}  // namespace monolith_tf
