#include "ops/cc/precision/precision.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/precision/precision_loops.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::unique_ptr<const Precision> Make(const PrecisionConfig& config) {
  auto precision = MakePrecision(config);
  EXPECT_TRUE(precision.ok()) << precision.status();
  return *std::move(precision);
}

// What comes back of weights that were stored.
std::vector<float> Stored(const Precision& precision,
                          const std::vector<float>& weights, uint64_t key) {
  const auto dim = static_cast<int64_t>(weights.size());
  std::vector<char> stored(precision.bytes(dim));
  precision.Encode(weights.data(), dim, key, stored.data());
  std::vector<float> decoded(weights.size());
  precision.Decode(stored.data(), dim, decoded.data());
  return decoded;
}

float Stored(const Precision& precision, float weight, uint64_t key = 7) {
  return Stored(precision, std::vector<float>{weight}, key)[0];
}

// The weight with these 16 bits.
float OfBits(const Precision& precision, uint16_t bits) {
  float weight;
  precision.Decode(reinterpret_cast<const char*>(&bits), 1, &weight);
  return weight;
}

// The mean of what comes back of a weight that is stored under many keys.
double MeanStored(const Precision& precision, float weight) {
  constexpr int kSize = 1 << 16;
  double sum = 0;
  for (const float stored :
       Stored(precision, std::vector<float>(kSize, weight), 12345)) {
    sum += static_cast<double>(stored) / kSize;
  }
  return sum;
}

TEST(PrecisionTest, Float32StoresTheWeightsThemselves) {
  const auto precision = Make({});
  EXPECT_TRUE(precision->is_float32());
  EXPECT_FALSE(precision->has_forward());
  EXPECT_EQ(precision->bytes(3), 12);
  const std::vector<float> weights = {1.5f, -0x1p-149f, 3e38f};
  EXPECT_EQ(Stored(*precision, weights, 7), weights);
}

TEST(PrecisionTest, OnlyInt8AndOnebitDoMoreThanRound) {
  for (const char* kind : {"bfloat16", "float16"}) {
    const auto precision = Make({kind, {}});
    EXPECT_FALSE(precision->is_float32());
    EXPECT_FALSE(precision->has_forward());
    EXPECT_EQ(precision->bytes(3), 6);
    const std::vector<float> weights = {1.0f, -2.0f};
    std::vector<float> values(2);
    std::vector<float> gradient = {3.0f, 4.0f};
    precision->Forward(weights.data(), 2, 5, values.data());
    precision->Backward(weights.data(), 2, 5, gradient.data());
    EXPECT_EQ(values, weights);
    EXPECT_EQ(gradient, (std::vector<float>{3.0f, 4.0f}));
  }
  EXPECT_TRUE(Make({"int8", {1.0f}})->has_forward());
  EXPECT_TRUE(Make({"onebit", {1.0f, 10.0f, 2}})->has_forward());
}

TEST(PrecisionTest, EveryBfloat16IsAFloatAndStoredExactly) {
  const auto precision = Make({"bfloat16", {}});
  for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
    const float weight = OfBits(*precision, static_cast<uint16_t>(bits));
    uint32_t float_bits;
    std::memcpy(&float_bits, &weight, sizeof(float_bits));
    ASSERT_EQ(float_bits, bits << 16);
    for (const uint64_t key : {0, 1, 2, 3}) {
      const float stored = Stored(*precision, weight, key);
      if (std::isnan(weight)) {
        ASSERT_TRUE(std::isnan(stored));
      } else if (std::isinf(weight)) {
        ASSERT_EQ(stored, std::copysign(0x1.FEp127f, weight));
      } else {
        ASSERT_EQ(std::memcmp(&stored, &weight, sizeof(float)), 0) << weight;
      }
    }
  }
}

// The definition of IEEE 754 binary16.
float OfFloat16(uint32_t bits) {
  const double sign = bits >> 15 ? -1 : 1;
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  if (exponent == 31) {
    return fraction == 0 ? static_cast<float>(sign) * kInfinity : std::nanf("");
  }
  if (exponent == 0) {
    return static_cast<float>(sign * std::ldexp(fraction, -24));
  }
  return static_cast<float>(sign * std::ldexp(1024 + fraction, exponent - 25));
}

TEST(PrecisionTest, EveryFloat16IsTheDocumentedFloatAndStoredExactly) {
  const auto precision = Make({"float16", {}});
  for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
    const float weight = OfBits(*precision, static_cast<uint16_t>(bits));
    const float expected = OfFloat16(bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(weight));
      ASSERT_TRUE(std::isnan(Stored(*precision, weight)));
      continue;
    }
    ASSERT_EQ(std::memcmp(&weight, &expected, sizeof(float)), 0) << bits;
    for (const uint64_t key : {0, 1, 2, 3}) {
      const float stored = Stored(*precision, weight, key);
      const float finite =
          std::isinf(weight) ? std::copysign(65504.0f, weight) : weight;
      ASSERT_EQ(std::memcmp(&stored, &finite, sizeof(float)), 0) << bits;
    }
  }
}

TEST(PrecisionTest, EveryLevelOfInt8IsStoredExactly) {
  for (const float range : {1.0f, 0.1f, 127.0f, 3e-7f, 1e-30f, 1e30f}) {
    const auto precision = Make({"int8", {range}});
    for (int level = -127; level <= 127; ++level) {
      const auto byte = static_cast<signed char>(level);
      float weight;
      precision->Decode(reinterpret_cast<const char*>(&byte), 1, &weight);
      ASSERT_EQ(weight, level * (range / 127));
      const std::vector<float> same(200, weight);
      ASSERT_EQ(Stored(*precision, same, level), same) << range << " " << level;
    }
  }
}

TEST(PrecisionTest, WhatIsBeyondTheLargestNumberBecomesTheLargest) {
  const auto bfloat16 = Make({"bfloat16", {}});
  const auto float16 = Make({"float16", {}});
  const auto int8 = Make({"int8", {0.5f}});
  for (const float sign : {1.0f, -1.0f}) {
    for (uint64_t key = 0; key < 50; ++key) {
      for (const float large : {kInfinity, 3.4028234e38f}) {
        EXPECT_EQ(Stored(*bfloat16, sign * large, key), sign * 0x1.FEp127f);
        EXPECT_EQ(Stored(*float16, sign * large, key), sign * 65504.0f);
        EXPECT_EQ(Stored(*int8, sign * large, key), sign * 127 * (0.5f / 127));
      }
      EXPECT_EQ(Stored(*float16, sign * 65519.0f, key), sign * 65504.0f);
      EXPECT_EQ(Stored(*int8, sign * 0.5001f, key), sign * 127 * (0.5f / 127));
    }
  }
  EXPECT_TRUE(std::isnan(Stored(*bfloat16, std::nanf(""))));
  EXPECT_TRUE(std::isnan(Stored(*float16, std::nanf(""))));
  EXPECT_EQ(Stored(*int8, std::nanf("")), 0.0f);
}

// Subnormal weights too, of which float16 has steps of 2^-24.
TEST(PrecisionTest, RoundingIsToANeighbourAndRightOnAverage) {
  struct Case {
    PrecisionConfig config;
    float weight;
    float lower;
    float upper;
  };
  const float level = 2.0f / 127;
  for (const Case& c : std::vector<Case>{
           {{"bfloat16", {}}, 1.001f, 1.0f, 1.0078125f},
           {{"bfloat16", {}}, -1.001f, -1.0078125f, -1.0f},
           {{"bfloat16", {}}, 0x1.8p-135f, 0.0f, 0x1p-133f},
           {{"float16", {}}, 0.33333f, 0x1.554p-2f, 0x1.558p-2f},
           {{"float16", {}}, -3000.7f, -3002.0f, -3000.0f},
           {{"float16", {}}, 0x1.3p-20f, 0x13p-24f, 0x13p-24f},
           {{"float16", {}}, 0x1.31p-20f, 0x13p-24f, 0x14p-24f},
           {{"float16", {}}, 0x1.8p-27f, 0.0f, 0x1p-24f},
           {{"float16", {}}, -0x1.ffcp-15f, -0x1p-14f, -0x3ffp-24f},
           {{"int8", {2.0f}}, 0.4f * level, 0.0f, level},
           {{"int8", {2.0f}}, -99.7f * level, -100 * level, -99 * level},
           {{"int8", {2.0f}}, 126.1f * level, 126 * level, 127 * level},
       }) {
    const auto precision = Make(c.config);
    for (const float stored :
         Stored(*precision, std::vector<float>(1000, c.weight), 99)) {
      ASSERT_TRUE(stored == c.lower || stored == c.upper) << stored;
    }
    // Four deviations of the mean of 2^16 draws.
    EXPECT_NEAR(MeanStored(*precision, c.weight), c.weight,
                (c.upper - c.lower) * 0.5 / 256 * 4)
        << c.config.kind << " " << c.weight;
  }
}

TEST(PrecisionTest, WhatIsFarBelowTheFirstStepIsRoundedUpSeldom) {
  const auto precision = Make({"float16", {}});
  for (const float weight : {0x1p-149f, 0x1p-126f, 0x1p-60f, -0x1p-45f}) {
    EXPECT_EQ(Stored(*precision, std::vector<float>(10000, weight), 1),
              std::vector<float>(10000, 0.0f));
  }
}

TEST(PrecisionTest, TheKeyDecidesAndNothingElse) {
  const std::vector<float> weights = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f};
  for (const PrecisionConfig& config : std::vector<PrecisionConfig>{
           {"bfloat16", {}}, {"float16", {}}, {"int8", {1.0f}}}) {
    const auto precision = Make(config);
    int different = 0;
    for (uint64_t key = 0; key < 100; ++key) {
      const std::vector<float> stored = Stored(*precision, weights, key);
      EXPECT_EQ(Stored(*precision, weights, key), stored);
      different += stored != Stored(*precision, weights, key + 1);
    }
    EXPECT_GT(different, 50);
  }
}

TEST(PrecisionTest, RoundingHasTheDocumentedBits) {
  const uint64_t key = InitialRoundingKey(IdKey(TableKey(7, "movie"), 42), 3);
  const std::vector<float> weights = {0.1f, -0.7f, 1e-7f, 3.14159f};
  EXPECT_EQ(Stored(*Make({"bfloat16", {}}), weights, key),
            (std::vector<float>{0x1.9a00000p-4f, -0x1.6600000p-1f,
                                0x1.ac00000p-24f, 0x1.9200000p+1f}));
  EXPECT_EQ(Stored(*Make({"float16", {}}), weights, key),
            (std::vector<float>{0x1.9980000p-4f, -0x1.6640000p-1f,
                                0x1.0000000p-23f, 0x1.9200000p+1f}));
  EXPECT_EQ(Stored(*Make({"int8", {4.0f}}), weights, key),
            (std::vector<float>{0x1.83060c0p-4f, -0x1.62c58c0p-1f, 0x0.0p+0f,
                                0x1.8f1e3c0p+1f}));
}

TEST(PrecisionTest, Int8PadsToTwoBytesAndEqualRowsHaveEqualBytes) {
  const auto precision = Make({"int8", {1.0f}});
  EXPECT_EQ(precision->bytes(3), 4);
  EXPECT_EQ(precision->bytes(4), 4);
  const std::vector<float> weights = {0.0f, 1.0f, -1.0f};
  char stored[4] = {9, 9, 9, 9};
  precision->Encode(weights.data(), 3, 7, stored);
  EXPECT_EQ(std::vector<char>(stored, stored + 4),
            (std::vector<char>{0, 127, -127, 0}));
}

TEST(PrecisionTest, Int8PassesTheGradientButNotOutOfTheRange) {
  const auto precision = Make({"int8", {1.0f}});
  const std::vector<float> weights = {1.0f, 1.0f, -1.0f, -1.0f, 0.5f, 0.0f};
  std::vector<float> gradient = {-2.0f, 2.0f, -3.0f, 3.0f, -4.0f, 4.0f};
  precision->Backward(weights.data(), 6, 1, gradient.data());
  EXPECT_EQ(gradient,
            (std::vector<float>{0.0f, 2.0f, -3.0f, 0.0f, -4.0f, 4.0f}));
}

TEST(PrecisionTest, EveryInstructionSetRoundsTheSameBits) {
  using LoopsIn = PrecisionLoops (*)(InstructionSet);
  std::mt19937_64 random(1);
  for (const LoopsIn loops_in :
       {Bfloat16LoopsIn, Float16LoopsIn, Int8LoopsIn}) {
    const PrecisionLoops portable = loops_in(InstructionSet::kPortable);
    for (const int64_t dim : {1, 7, 15, 16, 17, 31, 33, 64, 1000}) {
      for (int round = 0; round < 300; ++round) {
        // Any bits at all, and weights of usual size.
        std::vector<float> weights(dim);
        for (float& weight : weights) {
          const auto bits = static_cast<uint32_t>(random());
          std::memcpy(&weight, &bits, sizeof(weight));
          if (round % 2 != 0) weight = static_cast<int32_t>(bits) * 0x1p-31f;
        }
        const uint64_t key = random();
        std::vector<char> expected(2 * dim), stored(2 * dim);
        portable.encode(weights.data(), dim, key, 0.01f, expected.data());
        std::vector<float> decoded(dim), found(dim);
        portable.decode(expected.data(), dim, 0.01f, decoded.data());
        for (const InstructionSet set :
             {InstructionSet::kAvx2, InstructionSet::kAvx512}) {
          if (set > WidestInstructionSet()) continue;
          loops_in(set).encode(weights.data(), dim, key, 0.01f, stored.data());
          ASSERT_EQ(stored, expected);
          loops_in(set).decode(stored.data(), dim, 0.01f, found.data());
          ASSERT_EQ(std::memcmp(found.data(), decoded.data(), 4 * dim), 0);
        }
      }
    }
  }
}

TEST(PrecisionTest, EveryInstructionSetHasTheSameTanh) {
  for (const auto loop_in : {TanhLoopIn, TanhGradientLoopIn}) {
    std::vector<float> weights;
    for (float x = 1e-6f; x < 50; x *= 1.01f) {
      weights.push_back(x);
      weights.push_back(-x);
    }
    const auto dim = static_cast<int64_t>(weights.size());
    std::vector<float> expected(weights.size(), 1.0f);
    loop_in(InstructionSet::kPortable)(weights.data(), dim, 1.7, 0.3f,
                                       expected.data());
    for (const InstructionSet set :
         {InstructionSet::kAvx2, InstructionSet::kAvx512}) {
      if (set > WidestInstructionSet()) continue;
      std::vector<float> found(weights.size(), 1.0f);
      loop_in(set)(weights.data(), dim, 1.7, 0.3f, found.data());
      EXPECT_EQ(found, expected);
    }
  }
}

TEST(PrecisionTest, OnebitReturnsTheTanhThatSteepens) {
  const auto precision = Make({"onebit", {0.5f, 100.0f, 2}});
  EXPECT_EQ(precision->bytes(3), 6);
  for (const int64_t step :
       {int64_t{-3}, int64_t{0}, int64_t{50}, int64_t{99}}) {
    const double beta = 100.0 / (100.0 - (step < 0 ? 0 : step));
    for (float weight = -3; weight < 3; weight += 0.01f) {
      float value = weight;
      precision->Forward(&value, 1, step, &value);
      const double expected = 0.5 * std::tanh(beta * weight / 0.5);
      ASSERT_NEAR(value, expected, std::abs(expected) * 2e-7);
    }
  }
}

TEST(PrecisionTest, OnebitIsTheSignFromTheStepOn) {
  const auto precision = Make({"onebit", {0.5f, 100.0f, 2}});
  const std::vector<float> weights = {1e-30f, -1e-30f, 0.0f,
                                      -0.0f,  3.0f,    -3.0f};
  const std::vector<float> signs = {0.5f, -0.5f, 0.5f, 0.5f, 0.5f, -0.5f};
  std::vector<float> values(6);
  for (const int64_t step : {int64_t{100}, int64_t{101}, int64_t{1} << 40}) {
    precision->Forward(weights.data(), 6, step, values.data());
    EXPECT_EQ(values, signs);
  }
  precision->Forward(weights.data(), 6, 99, values.data());
  EXPECT_NE(values, signs);
}

TEST(PrecisionTest, OnebitHasTheDerivativeOfItsValues) {
  const auto precision = Make({"onebit", {0.5f, 100.0f, 2}});
  constexpr double kStep = 1e-3;
  for (const int64_t step : {int64_t{0}, int64_t{50}, int64_t{90}}) {
    for (double weight = -1.5; weight < 1.5; weight += 0.01) {
      const auto value_at = [&](double w) {
        const auto argument = static_cast<float>(w);
        float value;
        precision->Forward(&argument, 1, step, &value);
        return static_cast<double>(value);
      };
      const auto argument = static_cast<float>(weight);
      float gradient = 2.0f;
      precision->Backward(&argument, 1, step, &gradient);
      // Fourth order, of two numbers that are floats.
      const double numeric =
          (8 * (value_at(weight + kStep) - value_at(weight - kStep)) -
           (value_at(weight + 2 * kStep) - value_at(weight - 2 * kStep))) /
          (12 * kStep);
      ASSERT_NEAR(gradient, 2 * numeric, 2e-3) << step << " " << weight;
    }
  }
}

TEST(PrecisionTest, OnebitIsAsSteepAsItsBetaUntilTheStep) {
  const auto precision = Make({"onebit", {0.5f, 100.0f, 2}});
  EXPECT_EQ(precision->Steepness(0), 1.0);
  EXPECT_EQ(precision->Steepness(50), 2.0);
  EXPECT_EQ(precision->Steepness(99), 100.0);
  EXPECT_EQ(precision->Steepness(100), 1.0);
  const float weight = 0.0f;
  float gradient = 3.0f;
  precision->Backward(&weight, 1, 50, &gradient);
  EXPECT_EQ(gradient, 6.0f);
  EXPECT_EQ(Make({"int8", {1.0f}})->Steepness(99), 1.0);
  EXPECT_EQ(Make({"bfloat16", {}})->Steepness(99), 1.0);
}

TEST(PrecisionTest, OnebitLearnsOnAfterTheStep) {
  const auto precision = Make({"onebit", {1.0f, 10.0f, 2}});
  const std::vector<float> weights = {0.2f, -0.2f, 1.0f, 1.0f};
  std::vector<float> gradient = {-2.0f, 2.0f, -3.0f, 3.0f};
  precision->Backward(weights.data(), 4, 10, gradient.data());
  EXPECT_EQ(gradient, (std::vector<float>{-2.0f, 2.0f, 0.0f, 3.0f}));
}

TEST(PrecisionTest, OnebitInOneByteHasTheLevelsOfInt8) {
  const auto precision = Make({"onebit", {0.5f, 10.0f, 1}});
  const auto levels = Make({"int8", {0.5f}});
  EXPECT_EQ(precision->bytes(3), 4);
  EXPECT_EQ(precision->bytes(4), 4);
  std::vector<float> weights;
  for (float weight = -0.7f; weight < 0.7f; weight += 0.003f) {
    weights.push_back(weight);
  }
  for (const uint64_t key : {1, 2, 3}) {
    EXPECT_EQ(Stored(*precision, weights, key), Stored(*levels, weights, key));
  }
  // An odd dim leaves no byte unwritten.
  std::vector<char> stored(4, '\x7f');
  precision->Encode(weights.data(), 3, 1, stored.data());
  EXPECT_EQ(stored[3], 0);
}

TEST(PrecisionTest, OnebitInOneByteIsNotPushedOutOfItsRange) {
  const auto precision = Make({"onebit", {0.5f, 100.0f, 1}});
  const auto free = Make({"onebit", {0.5f, 100.0f, 2}});
  const float end = Stored(*precision, 0.5f);
  EXPECT_NEAR(end, 0.5f, 1e-7f);
  const std::vector<float> weights = {0.2f, end, end, -end, -end};
  const std::vector<float> given = {-2.0f, -2.0f, 2.0f, 2.0f, -2.0f};
  for (const int64_t step : {int64_t{0}, int64_t{50}}) {
    std::vector<float> expected = given;
    free->Backward(weights.data(), 5, step, expected.data());
    EXPECT_NE(expected[1], 0);
    expected[1] = expected[3] = 0;
    std::vector<float> gradient = given;
    precision->Backward(weights.data(), 5, step, gradient.data());
    EXPECT_EQ(gradient, expected);
  }
  std::vector<float> gradient = given;
  precision->Backward(weights.data(), 5, 100, gradient.data());
  EXPECT_EQ(gradient, (std::vector<float>{-2.0f, 0.0f, 2.0f, 0.0f, -2.0f}));
}

TEST(PrecisionTest, ErrorsNameTheKindAndWhatItTakes) {
  ExpectError(MakePrecision({"float8", {}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"'float32', 'bfloat16'", "Received: 'float8'"});
  ExpectError(MakePrecision({"float16", {1.0f}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"'float16' takes parameters {}", "Received: {1}"});
  for (const float range : {0.0f, -1.0f, 1e-31f, kInfinity, std::nanf("")}) {
    ExpectError(MakePrecision({"int8", {range}}).status(),
                absl::StatusCode::kInvalidArgument,
                {"{range}, from 1e-30 to 1e30"});
  }
  for (const std::vector<float>& parameters :
       std::vector<std::vector<float>>{{1.0f},
                                       {1.0f, 1.0f},
                                       {0.0f, 1.0f, 2.0f},
                                       {1.0f, 0.0f, 2.0f},
                                       {1.0f, 1.5f, 2.0f},
                                       {1.0f, 1e16f, 2.0f},
                                       {1.0f, 1.0f, 0.0f},
                                       {1.0f, 1.0f, 1.5f},
                                       {1.0f, 1.0f, 4.0f}}) {
    ExpectError(MakePrecision({"onebit", parameters}).status(),
                absl::StatusCode::kInvalidArgument,
                {"{amplitude, anneal_steps, bytes}", "an integer from 1"});
  }
}

}  // namespace
}  // namespace monolith_tf
