#include "ops/cc/initializer/initializer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/initializer/initializer_loops.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

std::vector<float> Fill(const InitializerConfig& config, int64_t id,
                        int64_t dim, int64_t first_element = 0) {
  auto initializer = MakeInitializer(config);
  EXPECT_TRUE(initializer.ok()) << initializer.status();
  std::vector<float> row(dim, -1.0f);
  (*initializer)
      ->Fill(IdKey(TableKey(7, "movie"), id), first_element, dim, row.data());
  return row;
}

TEST(InitializerTest, ZerosAreZeros) {
  EXPECT_EQ(Fill({"zeros", {}}, 42, 2), (std::vector<float>{0.0f, 0.0f}));
}

TEST(InitializerTest, OnesAreOnes) {
  EXPECT_EQ(Fill({"ones", {}}, 42, 2), (std::vector<float>{1.0f, 1.0f}));
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

TEST(InitializerTest, NormalHasTheDocumentedBits) {
  const InitializerConfig normal{"normal", {1.0f, 0.5f}};
  EXPECT_EQ(
      Fill(normal, 42, 3),
      (std::vector<float>{0x1.5ba958p+0f, 0x1.6cdb74p+0f, 0x1.bda8e8p+0f}));
  EXPECT_EQ(
      Fill(normal, 0, 3),
      (std::vector<float>{0x1.62a204p+0f, 0x1.ba227cp-2f, 0x1.120dbcp+0f}));
}

TEST(InitializerTest, VarianceScalingHasTheDocumentedBits) {
  EXPECT_EQ(
      Fill({"variance_scaling", {2.0f, 0.0f}}, 42, 3, 1),
      (std::vector<float>{0x1.7d1d72p-1f, 0x1.405a02p+0f, -0x1.467342p+0f}));
  EXPECT_EQ(
      Fill({"variance_scaling", {2.0f, 1.0f}}, 42, 3, 1),
      (std::vector<float>{0x1.6386b8p-1f, 0x1.35b692p+0f, -0x1.3c8cd4p+0f}));
  EXPECT_EQ(
      Fill({"variance_scaling", {2.0f, 2.0f}}, 42, 3, 1),
      (std::vector<float>{0x1.b602e4p-1f, 0x1.37ed46p+0f, -0x1.3b00e0p+0f}));
}

TEST(InitializerTest, VarianceScalingHasItsVarianceWhateverTheDistribution) {
  for (const float distribution : {0.0f, 1.0f, 2.0f}) {
    constexpr int64_t kDim = 50000;
    const std::vector<float> row =
        Fill({"variance_scaling", {3.0f, distribution}}, 5, kDim);
    double sum_of_squares = 0;
    for (const float value : row) sum_of_squares += value * value;
    EXPECT_NEAR(sum_of_squares, 3.0, 0.06) << distribution;
  }
}

TEST(InitializerTest, ASegmentIsTheSamePartOfALongerRow) {
  for (const char* kind : {"uniform", "normal", "truncated_normal"}) {
    const InitializerConfig config{kind, {0.0f, 1.0f}};
    const std::vector<float> whole = Fill(config, -9, 40);
    for (const int64_t first : {0, 1, 16, 23}) {
      for (const int64_t dim : {1, 3, 8, 16, 17}) {
        const std::vector<float> part(whole.begin() + first,
                                      whole.begin() + first + dim);
        EXPECT_EQ(Fill(config, -9, dim, first), part) << kind;
      }
    }
  }
}

TEST(InitializerTest, EveryInstructionSetFillsTheSameBits) {
  using LoopIn = FillLoop (*)(InstructionSet);
  for (const LoopIn loop_in :
       {UniformLoopIn, NormalLoopIn, TruncatedNormalLoopIn}) {
    for (const int64_t dim : {1, 2, 7, 15, 16, 17, 33, 64, 1000}) {
      std::vector<float> portable(dim);
      std::vector<float> wide(dim);
      for (uint64_t id_key = 0; id_key < 100; ++id_key) {
        loop_in(InstructionSet::kPortable)(Mix64(id_key), 3, dim, 0.25f, 1.7f,
                                           portable.data());
        for (const InstructionSet set :
             {InstructionSet::kAvx2, InstructionSet::kAvx512}) {
          if (set > WidestInstructionSet()) continue;
          loop_in(set)(Mix64(id_key), 3, dim, 0.25f, 1.7f, wide.data());
          ASSERT_EQ(wide, portable) << dim;
        }
      }
    }
  }
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

// Kolmogorov and Smirnov's statistic, moments, and the share beyond three
// deviations.
TEST(InitializerTest, NormalIsNormal) {
  constexpr int kSize = 1 << 20;
  std::vector<float> row = Fill({"normal", {0.0f, 1.0f}}, 5, kSize);
  std::sort(row.begin(), row.end());
  double distance = 0;
  double moments[5] = {};
  int far = 0;
  for (int i = 0; i < kSize; ++i) {
    const double z = row[i];
    const double probability = std::erfc(-z / std::sqrt(2.0)) / 2;
    distance = std::max({distance, probability - i / double{kSize},
                         (i + 1.0) / kSize - probability});
    double power = 1;
    for (double& moment : moments) {
      moment += power / kSize;
      power *= z;
    }
    far += std::abs(z) > 3;
  }
  // Exceeded by 1 sample in 20.
  EXPECT_LT(distance, 1.36 / std::sqrt(kSize));
  EXPECT_NEAR(moments[1], 0, 0.004);
  EXPECT_NEAR(moments[2], 1, 0.006);
  EXPECT_NEAR(moments[3], 0, 0.015);
  EXPECT_NEAR(moments[4], 3, 0.04);
  EXPECT_NEAR(far, 0.0027 * kSize, 200);
}

TEST(InitializerTest, NormalQuantileInvertsTheDistributionOutToTheTails) {
  double largest = 0;
  for (double tail = 0.4999; tail >= 0x1p-53; tail *= 0.99) {
    const double q = 0.5 - tail;
    const double z = NormalQuantile(q);
    EXPECT_EQ(NormalQuantile(-q), -z);
    // One step of Newton's method gives the error of z.
    const double density = std::exp(-z * z / 2) / std::sqrt(2 * std::acos(-1));
    const double error =
        (std::erfc(z / std::sqrt(2.0)) / 2 - (0.5 - q)) / density;
    largest = std::max(largest, std::abs(error / z));
  }
  EXPECT_LT(largest, 5e-9);
}

TEST(InitializerTest, MiddleNormalQuantileInvertsTheDistribution) {
  for (int i = -1000; i <= 1000; ++i) {
    const double q = i / 1000.0 * kTwoDeviationsProbability / 2;
    const double z = MiddleNormalQuantile(q);
    // The slope of the distribution is at least 0.054 here.
    EXPECT_NEAR(std::erf(z / std::sqrt(2.0)) / 2, q, 1e-7 * 0.054);
  }
}

TEST(InitializerTest, ErrorsNameTheKindAndWhatItTakes) {
  ExpectError(MakeInitializer({"twos", {}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"'zeros', 'ones', 'constant'", "Received: 'twos'"});
  ExpectError(MakeInitializer({"ones", {1.0f}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"'ones' takes 0 finite parameters {}", "Received: {1}"});
  ExpectError(MakeInitializer({"constant", {}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"'constant' takes 1 finite parameters {value}"});
  ExpectError(MakeInitializer({"uniform", {1.0f, 0.0f}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"minval <= maxval", "Received: {1, 0}"});
  ExpectError(MakeInitializer({"uniform", {-3e38f, 3e38f}}).status(),
              absl::StatusCode::kInvalidArgument, {"finite difference"});
  ExpectError(MakeInitializer({"truncated_normal", {0.0f, -1.0f}}).status(),
              absl::StatusCode::kInvalidArgument, {"stddev >= 0"});
  ExpectError(MakeInitializer({"normal", {0.0f, 3e38f}}).status(),
              absl::StatusCode::kInvalidArgument, {"a finite mean + 9 stddev"});
  ExpectError(MakeInitializer({"variance_scaling", {0.0f, 0.0f}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"scale > 0", "Received: {0, 0}"});
  ExpectError(MakeInitializer({"variance_scaling", {1.0f, 0.5f}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"distribution 0 (truncated normal), 1 (untruncated normal) or "
               "2 (uniform)"});
  ExpectError(MakeInitializer({"constant", {std::nanf("")}}).status(),
              absl::StatusCode::kInvalidArgument, {"nan"});
}

}  // namespace
}  // namespace monolith_tf
