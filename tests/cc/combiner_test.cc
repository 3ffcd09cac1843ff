#include "ops/cc/features/combiner.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "ops/cc/features/id_router.h"

namespace monolith_tf {
namespace {

Combiner Made(const std::string& name, int64_t n = 0) {
  Combiner combiner;
  EXPECT_TRUE(Combiner::Make(name, n, &combiner).ok());
  return combiner;
}

// Rows [1, 10], [2, 20], [3, 30] of shard 0 and [4, 40] of shard 1.
struct Rows {
  std::vector<float> first = {1, 10, 2, 20, 3, 30};
  std::vector<float> second = {4, 40};

  ShardedRows sharded() const {
    ShardedRows rows;
    rows.bases = {first.data(), second.data()};
    rows.sizes = {3, 1};
    rows.dim = 2;
    return rows;
  }
};

// Lists of 3, 0 and 2 ids; one of them has no place.
const std::vector<int64_t> kSplits = {0, 3, 3, 5};
const std::vector<int64_t> kPlaces = {0, kNoPlace, MakePlace(1, 0), 2, 2};

FeatureLists Lists() {
  FeatureLists lists;
  lists.num_lists = 3;
  lists.splits = kSplits.data();
  return lists;
}

std::vector<float> Combined(const Combiner& combiner, const float* weights) {
  const Rows rows;
  std::vector<float> out(3 * combiner.vectors_per_list() * 2, -1.0f);
  EXPECT_EQ(combiner.Combine(Lists(), kPlaces.data(), weights, rows.sharded(),
                             0, 3, out.data()),
            -1);
  return out;
}

TEST(CombinerTest, SumMeanSqrtnByHand) {
  EXPECT_EQ(Combined(Made("sum"), nullptr),
            (std::vector<float>{5, 50, 0, 0, 6, 60}));
  EXPECT_EQ(Combined(Made("mean"), nullptr),
            (std::vector<float>{2.5, 25, 0, 0, 3, 30}));
  const float root = std::sqrt(2.0f);
  EXPECT_EQ(
      Combined(Made("sqrtn"), nullptr),
      (std::vector<float>{5 / root, 50 / root, 0, 0, 6 / root, 60 / root}));
}

TEST(CombinerTest, WeightsMultiplyRowsAndDivide) {
  const float weights[] = {2, 100, 0.5, 1, 3};
  EXPECT_EQ(Combined(Made("sum"), weights),
            (std::vector<float>{4, 40, 0, 0, 12, 120}));
  EXPECT_EQ(Combined(Made("mean"), weights),
            (std::vector<float>{4 / 2.5f, 40 / 2.5f, 0, 0, 3, 30}));
  const float opposite[] = {1, 100, -1, 1, -1};
  EXPECT_EQ(Combined(Made("mean"), opposite), (std::vector<float>(6, 0.0f)));
}

TEST(CombinerTest, FirstNFillsUpWithZeros) {
  EXPECT_EQ(Combined(Made("first_n", 2), nullptr),
            (std::vector<float>{1, 10, 4, 40, 0, 0, 0, 0, 3, 30, 3, 30}));
  EXPECT_EQ(Combined(Made("first_n", 3), nullptr),
            (std::vector<float>{1, 10, 4, 40, 0, 0, 0, 0, 0, 0, 0, 0, 3, 30, 3,
                                30, 0, 0}));
}

TEST(CombinerTest, CutKeepsTheFirstPlacesOfEachList) {
  std::vector<int64_t> places = kPlaces;
  Made("first_n", 1).Cut(Lists(), places.data());
  EXPECT_EQ(places, (std::vector<int64_t>{0, -1, -1, 2, -1}));
  places = kPlaces;
  Made("sum").Cut(Lists(), places.data());
  EXPECT_EQ(places, kPlaces);
}

TEST(CombinerTest, APlaceThatIsNotThereIsTold) {
  const Rows rows;
  float out[12];
  for (const int64_t wrong : {MakePlace(0, 3), MakePlace(1, 1), MakePlace(2, 0),
                              MakePlace(8, int64_t{1} << 39)}) {
    std::vector<int64_t> places = kPlaces;
    places[3] = wrong;
    EXPECT_EQ(Made("sum").Combine(Lists(), places.data(), nullptr,
                                  rows.sharded(), 0, 3, out),
              3);
  }
  // More ids than first_n has room for.
  EXPECT_EQ(
      Made("first_n", 1)
          .Combine(Lists(), kPlaces.data(), nullptr, rows.sharded(), 0, 3, out),
      2);
}

TEST(CombinerTest, SumsOfAnyNumberOfPartsAreTheSumsOfTheSlices) {
  std::mt19937_64 random(1);
  const int64_t num_rows = 200;
  const int64_t dim = 3;
  std::vector<int64_t> splits = {0};
  while (splits.size() < 301) splits.push_back(splits.back() + random() % 6);
  const int64_t n = splits.back();
  std::vector<int64_t> places(n);
  std::vector<float> weights(n);
  for (int64_t i = 0; i < n; ++i) {
    places[i] = random() % 5 == 0 ? kNoPlace : random() % num_rows;
    weights[i] = static_cast<float>(random() % 100) / 50;
  }
  FeatureLists lists;
  lists.num_lists = 300;
  lists.splits = splits.data();
  for (const auto& [name, vectors] :
       std::vector<std::pair<std::string, int64_t>>{
           {"sum", 0}, {"mean", 0}, {"sqrtn", 0}, {"first_n", 5}}) {
    const Combiner combiner = Made(name, vectors);
    std::vector<float> gradients(300 * combiner.vectors_per_list() * dim);
    for (float& g : gradients) g = static_cast<float>(random() % 1000) / 7;
    std::vector<float> slices(n * dim);
    std::vector<int64_t> slice_places(n);
    // Places stand for ids.
    combiner.Slices(lists, places.data(), weights.data(), gradients.data(),
                    places.data(), dim, 0, 300, slices.data(),
                    slice_places.data());
    std::vector<float> expected(num_rows * dim, 0.0f);
    std::vector<int64_t> expected_counts(num_rows, 0);
    int64_t slice = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (places[i] < 0) continue;
      ASSERT_EQ(slice_places[slice], places[i]);
      ++expected_counts[places[i]];
      for (int64_t d = 0; d < dim; ++d) {
        expected[places[i] * dim + d] += slices[slice * dim + d];
      }
      ++slice;
    }
    for (const int64_t num_parts : {1, 2, 8}) {
      std::vector<float> sums(num_rows * dim, 0.0f);
      std::vector<int64_t> counts(num_rows, 0);
      ShardedSums sharded;
      sharded.shards = {{sums.data(), counts.data(), num_rows}};
      sharded.dim = dim;
      for (int64_t part = num_parts; part-- > 0;) {
        EXPECT_TRUE(combiner.AddGradients(lists, places.data(), weights.data(),
                                          {gradients.data(), dim}, part,
                                          num_parts, sharded));
      }
      EXPECT_EQ(sums, expected) << name << " in " << num_parts;
      EXPECT_EQ(counts, expected_counts) << name << " in " << num_parts;
    }
  }
}

TEST(CombinerTest, GradientsMayBeColumnsOfSomethingWider) {
  const std::vector<int64_t> places = {1, 0, 1};
  // The middle columns are those of the feature.
  const std::vector<float> wide = {9, 1, 2, 9, 9, 3, 4, 9, 9, 5, 6, 9};
  std::vector<float> sums(4, 7.0f);
  std::vector<int64_t> counts(2, 0);
  ShardedSums sharded;
  sharded.shards = {{sums.data(), counts.data(), 2}};
  sharded.dim = 2;
  FeatureLists lists;
  lists.num_lists = 3;
  EXPECT_TRUE(Made("none").AddGradients(lists, places.data(), nullptr,
                                        {wide.data() + 1, 4}, 0, 1, sharded));
  EXPECT_EQ(sums, (std::vector<float>{3, 4, 6, 8}));
  EXPECT_EQ(counts, (std::vector<int64_t>{1, 2}));
}

TEST(CombinerTest, GradientsOfPlacesThatAreNotThereAreRefused) {
  float sums[2];
  int64_t counts[2] = {0, 0};
  const float gradients[2] = {1, 2};
  ShardedSums sharded;
  sharded.shards = {{sums, counts, 2}};
  sharded.dim = 1;
  FeatureLists lists;
  lists.num_lists = 1;
  lists.length = 2;
  const auto add = [&](const Combiner& combiner, int64_t second) {
    const int64_t places[2] = {0, second};
    return combiner.AddGradients(lists, places, nullptr, {gradients, 1}, 0, 1,
                                 sharded);
  };
  EXPECT_TRUE(add(Made("sum"), 1));
  EXPECT_FALSE(add(Made("sum"), 2));
  EXPECT_FALSE(add(Made("sum"), MakePlace(1, 0)));
  EXPECT_TRUE(add(Made("first_n", 2), 1));
  // More places than vectors.
  EXPECT_FALSE(add(Made("first_n", 1), 1));
}

TEST(CombinerTest, WrongNamesAndNumbersAreRefused) {
  Combiner combiner;
  EXPECT_FALSE(Combiner::Make("max", 0, &combiner).ok());
  EXPECT_FALSE(Combiner::Make("first_n", 0, &combiner).ok());
  EXPECT_FALSE(Combiner::Make("sum", 1, &combiner).ok());
}

TEST(CombinerTest, SplitsAreChecked) {
  const auto check = [](const std::vector<int64_t>& splits, int64_t num_ids) {
    return CheckSplits(splits.data(), splits.size(), num_ids).ok();
  };
  EXPECT_TRUE(check({0, 2, 2, 5}, 5));
  EXPECT_TRUE(check({0}, 0));
  EXPECT_FALSE(check({}, 0));
  EXPECT_FALSE(check({0, 2}, 3));
  EXPECT_FALSE(check({1, 3}, 3));
  EXPECT_FALSE(check({0, 3, 2, 3}, 3));
  EXPECT_FALSE(check({0, -1, 3}, 3));
}

}  // namespace
}  // namespace monolith_tf
