#include "ops/cc/initializer/pretrained_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/hash/hash.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

std::unique_ptr<const PretrainedRows> Make(const std::vector<int64_t>& ids,
                                           const std::vector<float>& rows,
                                           int64_t dim) {
  auto pretrained = PretrainedRows::Create(
      ids.data(), rows.data(), static_cast<int64_t>(ids.size()), dim);
  EXPECT_TRUE(pretrained.ok()) << pretrained.status();
  return *std::move(pretrained);
}

absl::Status ErrorOf(const std::vector<int64_t>& ids,
                     const std::vector<float>& rows, int64_t n, int64_t dim) {
  return PretrainedRows::Create(ids.data(), rows.data(), n, dim).status();
}

TEST(PretrainedRowsTest, AnIdFindsItsRowAndOthersNone) {
  const auto pretrained =
      Make({0, -1, std::numeric_limits<int64_t>::min()}, {1, 2, 3, 4, 5, 6}, 2);
  EXPECT_EQ(pretrained->size(), 3);
  EXPECT_EQ(pretrained->dim(), 2);
  EXPECT_EQ(pretrained->Find(0)[1], 2.0f);
  EXPECT_EQ(pretrained->Find(-1)[0], 3.0f);
  EXPECT_EQ(pretrained->Find(std::numeric_limits<int64_t>::min())[1], 6.0f);
  EXPECT_EQ(pretrained->Find(1), nullptr);
}

TEST(PretrainedRowsTest, NoRowsAreRowsToo) {
  const auto pretrained = Make({}, {}, 4);
  EXPECT_EQ(pretrained->size(), 0);
  EXPECT_EQ(pretrained->Find(0), nullptr);
}

TEST(PretrainedRowsTest, ManyIdsAreFoundFromSeveralThreads) {
  constexpr int64_t kSize = 100000;
  std::vector<int64_t> ids(kSize);
  std::vector<float> rows(kSize);
  for (int64_t i = 0; i < kSize; ++i) {
    ids[i] = static_cast<int64_t>(Mix64(i));
    rows[i] = static_cast<float>(i);
  }
  const auto pretrained = Make(ids, rows, 1);
  EXPECT_LE(pretrained->bytes(), kSize * (8 + 4 + 16));
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&] {
      for (int64_t i = 0; i < kSize; ++i) {
        ASSERT_EQ(*pretrained->Find(ids[i]), static_cast<float>(i));
        ASSERT_EQ(pretrained->Find(static_cast<int64_t>(Mix64(i + kSize))),
                  nullptr);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(PretrainedRowsTest, ErrorsSayWhatWasPassed) {
  ExpectError(ErrorOf({3, 4, 3}, {1, 2, 3}, 3, 1),
              absl::StatusCode::kInvalidArgument,
              {"distinct ids", "id 3 more than once"});
  ExpectError(ErrorOf({3, 4}, {1, 2, 3, std::nanf("")}, 2, 2),
              absl::StatusCode::kInvalidArgument,
              {"finite numbers", "nan in the row of id 4"});
  ExpectError(ErrorOf({}, {}, 0, 0), absl::StatusCode::kInvalidArgument,
              {"dim = 0"});
  ExpectError(ErrorOf({}, {}, -1, 1), absl::StatusCode::kInvalidArgument,
              {"n = -1"});
}

}  // namespace
}  // namespace monolith_tf
