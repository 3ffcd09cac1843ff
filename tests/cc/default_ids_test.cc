#include "ops/cc/features/default_ids.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "ops/cc/features/combiner.h"

namespace monolith_tf {
namespace {

struct Filled {
  std::vector<int64_t> ids;
  std::vector<float> weights;
  std::vector<int64_t> splits;
};

Filled Fill(const FeatureLists& lists, const std::vector<int64_t>& ids,
            const DefaultId& choice) {
  const MissingLists missing = CountMissing(lists, ids.data(), choice);
  Filled out;
  std::vector<float> weights(ids.size());
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 10.0f + i;
  out.ids.resize(ids.size() + missing.num_empty);
  out.weights.resize(out.ids.size());
  out.splits.resize(lists.num_lists + 1);
  FillMissing(lists, ids.data(), weights.data(), choice, out.ids.data(),
              out.weights.data(), out.splits.data());
  return out;
}

TEST(DefaultIdsTest, AnEmptyListGetsAnElementAndPaddingAloneIsReplaced) {
  const std::vector<int64_t> splits = {0, 1, 1, 3, 5};
  const FeatureLists lists = {4, 0, splits.data()};
  const DefaultId choice = {true, 0, 9};
  const std::vector<int64_t> ids = {5, 0, 0, 0, 7};
  const MissingLists missing = CountMissing(lists, ids.data(), choice);
  EXPECT_EQ(missing.num_missing, 2);
  EXPECT_EQ(missing.num_empty, 1);
  const Filled filled = Fill(lists, ids, choice);
  EXPECT_EQ(filled.ids, (std::vector<int64_t>{5, 9, 9, 0, 0, 7}));
  EXPECT_EQ(filled.weights, (std::vector<float>{10, 1, 1, 12, 13, 14}));
  EXPECT_EQ(filled.splits, (std::vector<int64_t>{0, 1, 2, 4, 6}));
}

TEST(DefaultIdsTest, WithoutPaddingOnlyEmptyListsAreMissing) {
  const std::vector<int64_t> splits = {0, 0, 2, 2};
  const FeatureLists lists = {3, 0, splits.data()};
  const Filled filled = Fill(lists, {0, 0}, {false, 0, 9});
  EXPECT_EQ(filled.ids, (std::vector<int64_t>{9, 0, 0, 9}));
  EXPECT_EQ(filled.splits, (std::vector<int64_t>{0, 1, 3, 4}));
}

TEST(DefaultIdsTest, DenseListsOfPaddingHaveTheirFirstReplaced) {
  const FeatureLists lists = {2, 3, nullptr};
  const Filled filled = Fill(lists, {0, 0, 0, 0, 4, 0}, {true, 0, -1});
  EXPECT_EQ(filled.ids, (std::vector<int64_t>{-1, 0, 0, 0, 4, 0}));
}

TEST(DefaultIdsTest, DenseListsOfLengthZeroGetLengthOne) {
  const FeatureLists lists = {3, 0, nullptr};
  const Filled filled = Fill(lists, {}, {false, 0, 6});
  EXPECT_EQ(filled.ids, (std::vector<int64_t>{6, 6, 6}));
}

TEST(DefaultIdsTest, IdsThatAreListsAreReplacedOneByOne) {
  const FeatureLists lists = {4, 1, nullptr};
  const Filled filled = Fill(lists, {3, 0, 4, 0}, {true, 0, 6});
  EXPECT_EQ(filled.ids, (std::vector<int64_t>{3, 6, 4, 6}));
  EXPECT_EQ(filled.weights, (std::vector<float>{10, 1, 12, 1}));
}

}  // namespace
}  // namespace monolith_tf
