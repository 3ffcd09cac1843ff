#include "ops/cc/table/initializer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/table/hash.h"
#include "ops/cc/table/normal_quantile.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

std::vector<float> Fill(const InitializerConfig& config, int64_t id,
                        int64_t dim) {
  auto initializer = MakeInitializer(config);
  EXPECT_TRUE(initializer.ok()) << initializer.status();
  std::vector<float> row(dim, -1.0f);
  (*initializer)->Fill(IdKey(TableKey(7, "movie"), id), 0, dim, row.data());
  return row;
}

TEST(InitializerTest, ZerosAreZeros) {
  EXPECT_EQ(Fill({"zeros", {}}, 42, 2), (std::vector<float>{0.0f, 0.0f}));
}

TEST(InitializerTest, ConstantIsItsValue) {
  EXPECT_EQ(Fill({"constant", {1.5f}}, 42, 2), (std::vector<float>{1.5, 1.5}));
}

// Computed with NumPy from the specification in docs/formats.md.
TEST(InitializerTest, UniformHasTheDocumentedBits) {
  const InitializerConfig uniform{"uniform", {-0.05f, 0.05f}};
  EXPECT_EQ(
      Fill(uniform, 42, 3),
      (std::vector<float>{0x1.aef5a4p-6f, 0x1.ef8da4p-6f, 0x1.60e7aap-5f}));
  EXPECT_EQ(
      Fill(uniform, -1, 3),
      (std::vector<float>{-0x1.d5dbd0p-8f, -0x1.4f6f20p-8f, 0x1.5c4d0cp-6f}));
  EXPECT_EQ(
      Fill(uniform, std::numeric_limits<int64_t>::min(), 3),
      (std::vector<float>{0x1.604d60p-8f, -0x1.82fb0ap-5f, -0x1.3903fap-5f}));
}

TEST(InitializerTest, TruncatedNormalHasTheDocumentedBits) {
  const InitializerConfig normal{"truncated_normal", {1.0f, 0.5f}};
  EXPECT_EQ(
      Fill(normal, 42, 3),
      (std::vector<float>{0x1.56c3fep+0f, 0x1.66a53ap+0f, 0x1.ac8f64p+0f}));
  EXPECT_EQ(
      Fill(normal, 0, 3),
      (std::vector<float>{0x1.5d3a9cp+0f, 0x1.e1d318p-2f, 0x1.113a24p+0f}));
}

TEST(InitializerTest, ALongerRowBeginsAsAShorterOne) {
  const InitializerConfig uniform{"uniform", {0.0f, 1.0f}};
  std::vector<float> longer = Fill(uniform, 5, 8);
  longer.resize(3);
  EXPECT_EQ(longer, Fill(uniform, 5, 3));
}

TEST(InitializerTest, UniformFillsItsRangeEvenly) {
  const std::vector<float> row = Fill({"uniform", {2.0f, 4.0f}}, 5, 100000);
  double sum = 0;
  for (const float value : row) {
    ASSERT_GE(value, 2.0f);
    ASSERT_LE(value, 4.0f);
    sum += value;
  }
  EXPECT_NEAR(sum / row.size(), 3.0, 0.01);
}

TEST(InitializerTest, TruncatedNormalHasItsMomentsWithinTwoDeviations) {
  const std::vector<float> row =
      Fill({"truncated_normal", {0.0f, 1.0f}}, 5, 100000);
  double sum = 0;
  double sum_of_squares = 0;
  for (const float value : row) {
    ASSERT_LE(std::abs(value), 2.000001f);
    sum += value;
    sum_of_squares += value * value;
  }
  EXPECT_NEAR(sum / row.size(), 0.0, 0.01);
  // The variance of a normal distribution cut at two deviations.
  EXPECT_NEAR(sum_of_squares / row.size(), 0.7737, 0.01);
}

TEST(InitializerTest, NormalQuantileInvertsTheDistribution) {
  for (int i = -1000; i <= 1000; ++i) {
    const double q = i / 1000.0 * kTwoDeviationsProbability / 2;
    const double z = NormalQuantile(q);
    // The slope of the distribution is at least 0.054 here.
    EXPECT_NEAR(std::erf(z / std::sqrt(2.0)) / 2, q, 1e-7 * 0.054);
  }
}

TEST(InitializerTest, ErrorsNameTheKindAndWhatItTakes) {
  ExpectError(MakeInitializer({"ones", {}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"\"zeros\", \"constant\", \"uniform\"", "Received: \"ones\""});
  ExpectError(MakeInitializer({"constant", {}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"\"constant\" takes 1 finite parameters {value}"});
  ExpectError(MakeInitializer({"uniform", {1.0f, 0.0f}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"minval <= maxval", "Received: {1, 0}"});
  ExpectError(MakeInitializer({"uniform", {-3e38f, 3e38f}}).status(),
              absl::StatusCode::kInvalidArgument, {"finite difference"});
  ExpectError(MakeInitializer({"truncated_normal", {0.0f, -1.0f}}).status(),
              absl::StatusCode::kInvalidArgument, {"stddev >= 0"});
  ExpectError(MakeInitializer({"constant", {std::nanf("")}}).status(),
              absl::StatusCode::kInvalidArgument, {"nan"});
}

}  // namespace
}  // namespace monolith_tf
