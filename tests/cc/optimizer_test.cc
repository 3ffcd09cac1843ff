#include "ops/cc/optimizer/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/hash/hash.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

// Steps one row, [weights | slots], once for each gradient.
std::vector<float> RunSteps(const OptimizerConfig& config,
                            std::vector<float> weights,
                            const std::vector<std::vector<float>>& gradients,
                            float learning_rate) {
  auto made = MakeOptimizer(config);
  EXPECT_TRUE(made.ok()) << made.status();
  const Optimizer& optimizer = **made;
  const int64_t dim = static_cast<int64_t>(weights.size());
  std::vector<float> row = weights;
  row.resize(dim + optimizer.slot_floats(dim));
  optimizer.InitializeSlots(dim, row.data(), row.data() + dim);
  float* const rows[] = {row.data()};
  float* const slots[] = {row.data() + dim};
  for (size_t t = 0; t < gradients.size(); ++t) {
    const float* const gradient[] = {gradients[t].data()};
    optimizer.Apply(optimizer.Prepare(learning_rate, t + 1), dim, 1, rows,
                    slots, gradient);
  }
  return row;
}

TEST(OptimizerTest, SgdSubtractsRateTimesGradient) {
  EXPECT_EQ(
      RunSteps({"sgd", {}}, {1.0f, 2.0f}, {{4.0f, -8.0f}, {2.0f, 0.0f}}, 0.5f),
      (std::vector<float>{-2.0f, 6.0f}));
}

TEST(OptimizerTest, MomentumKeepsAPartOfTheLastMove) {
  // m = -2, then 0.5 * -2 - 1 = -2.
  EXPECT_EQ(RunSteps({"sgd", {0.5f, 0.0f}}, {1.0f}, {{4.0f}, {2.0f}}, 0.5f),
            (std::vector<float>{1.0f - 2.0f - 2.0f, -2.0f}));
  // Nesterov moves by 0.5 * -2 - 2 = -3, then by 0.5 * -2 - 1 = -2.
  EXPECT_EQ(RunSteps({"sgd", {0.5f, 1.0f}}, {1.0f}, {{4.0f}, {2.0f}}, 0.5f),
            (std::vector<float>{1.0f - 3.0f - 2.0f, -2.0f}));
}

TEST(OptimizerTest, MovingAverageFollowsTheGradient) {
  EXPECT_EQ(RunSteps({"moving_average", {0.75f}}, {4.0f, 0.0f},
                     {{8.0f, 4.0f}, {5.0f, 1.0f}}, 123.0f),
            (std::vector<float>{5.0f, 1.0f}));
}

TEST(OptimizerTest, DelayCompensationAddsTheCurvatureTimesTheLastMove) {
  // First w - backup = 0: 2 - 0.5 * 2 = 1. Then it is -1, and the gradient
  // 2 + 0.25 * 4 * -1 = 1: 1 - 0.5 = 0.5.
  EXPECT_EQ(RunSteps({"delay_compensated_sgd", {0.25f}}, {2.0f},
                     {{2.0f}, {2.0f}}, 0.5f),
            (std::vector<float>{0.5f, 1.0f}));
  // The accumulator sums compensated gradients: 0 + 4, then w = 2 - 0.5 * 2 /
  // 2 = 1.5 and the gradient 2 + 0.25 * 4 * -0.5 = 1.5.
  const std::vector<float> row =
      RunSteps({"delay_compensated_adagrad", {0.25f, 0.0f, 1e-7f}}, {2.0f},
               {{2.0f}, {2.0f}}, 0.5f);
  EXPECT_FLOAT_EQ(row[0], 1.5f - 0.5f * 1.5f / 2.5f);
  EXPECT_FLOAT_EQ(row[1], 6.25f);
  EXPECT_FLOAT_EQ(row[2], 1.5f);
}

TEST(OptimizerTest, DelayCompensationOfTheLargestGradientsStaysFinite) {
  const std::vector<std::vector<float>> gradients(8, {-0x1p48f, 0x1p48f});
  for (const char* kind :
       {"delay_compensated_sgd", "delay_compensated_adagrad"}) {
    OptimizerConfig config = {kind, {100.0f}};
    if (config.kind == "delay_compensated_adagrad") {
      config.hyperparameters = {100.0f, 0.1f, 1e-7f};
    }
    for (const float value : RunSteps(config, {1.0f, 1.0f}, gradients, 10.0f)) {
      EXPECT_TRUE(std::isfinite(value)) << kind;
    }
  }
}

TEST(OptimizerTest, AdagradDividesByTheRootOfTheAccumulator) {
  // accumulator 7 + 9 = 16: 1 - 0.5 * 3 / 4; then 16 + 9 = 25.
  const std::vector<float> row =
      RunSteps({"adagrad", {7.0f, 0.0f}}, {1.0f}, {{3.0f}, {3.0f}}, 0.5f);
  EXPECT_FLOAT_EQ(row[0], 1.0f - 0.375f - 0.3f);
  EXPECT_FLOAT_EQ(row[1], 25.0f);
}

TEST(OptimizerTest, AdagradAddsEpsilonUnderTheRoot) {
  // 0 + 4 + 5 = 9.
  EXPECT_FLOAT_EQ(
      RunSteps({"adagrad", {0.0f, 5.0f}}, {1.0f}, {{2.0f}}, 3.0f)[0], -1.0f);
}

TEST(OptimizerTest, RowWiseAdagradKeepsTheMeanOfTheSquares) {
  // Mean of 9, 1, 4, 2 (each squared) = 25.5, over 10.5 = 36.
  const std::vector<float> row =
      RunSteps({"row_wise_adagrad", {10.5f, 0.0f}}, {0.0f, 1.0f, 2.0f, 3.0f},
               {{9.0f, -1.0f, 4.0f, -2.0f}}, 6.0f);
  EXPECT_EQ(row, (std::vector<float>{-9.0f, 2.0f, -2.0f, 5.0f, 36.0f}));
}

TEST(OptimizerTest, RowWiseAdagradOfOneWeightIsAdagrad) {
  const std::vector<std::vector<float>> gradients = {{3.0f}, {-0.2f}, {1.5f}};
  const std::vector<float> row =
      RunSteps({"row_wise_adagrad", {0.1f, 1e-3f}}, {1.0f}, gradients, 0.3f);
  const std::vector<float> expected =
      RunSteps({"adagrad", {0.1f, 1e-3f}}, {1.0f}, gradients, 0.3f);
  EXPECT_FLOAT_EQ(row[0], expected[0]);
  EXPECT_EQ(row[1], expected[1]);
}

TEST(OptimizerTest, AdadeltasFirstStep) {
  // squares = 0.5 * 16 = 8; delta = -sqrt(1) * 4 / sqrt(8 + 1); deltas = half
  // of its square.
  const std::vector<float> row =
      RunSteps({"adadelta", {0.5f, 1.0f}}, {1.0f}, {{4.0f}}, 0.3f);
  EXPECT_FLOAT_EQ(row[0], 1.0f - 0.4f);
  EXPECT_FLOAT_EQ(row[1], 8.0f);
  EXPECT_FLOAT_EQ(row[2], 8.0f / 9.0f);
}

TEST(OptimizerTest, RmspropDividesByTheRootOfTheMeanSquareOrVariance) {
  // velocity = 0.5 * 16 = 8; 0.3 * 4 / sqrt(8 + 1) = 0.4.
  EXPECT_FLOAT_EQ(RunSteps({"rmsprop", {0.5f, 0.0f, 1.0f, 0.0f}}, {1.0f},
                           {{4.0f}}, 0.3f)[0],
                  0.6f);
  // average = 2; 8 - 4 + 5 = 9.
  const std::vector<float> row = RunSteps({"rmsprop", {0.5f, 0.5f, 5.0f, 1.0f}},
                                          {1.0f}, {{4.0f}, {0.0f}}, 0.3f);
  // The second step is half of the first.
  EXPECT_FLOAT_EQ(row[0], 1.0f - 0.4f - 0.2f);
  EXPECT_FLOAT_EQ(row[1], 4.0f);
  EXPECT_FLOAT_EQ(row[2], 0.2f);
  EXPECT_FLOAT_EQ(row[3], 1.0f);
}

TEST(OptimizerTest, CenteredRmspropOfEqualGradientsStaysFinite) {
  // The variance is 0 but for rounding, which goes below.
  const std::vector<std::vector<float>> gradients(500, {37.123f, -1e4f});
  for (const float value : RunSteps({"rmsprop", {0.9f, 0.0f, 1e-7f, 1.0f}},
                                    {1.0f, 1.0f}, gradients, 1e-3f)) {
    EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(OptimizerTest, AdamsFirstStepIsTheRateInTheGradientsDirection) {
  const std::vector<float> row = RunSteps({"adam", {0.9f, 0.999f, 1e-7f}},
                                          {1.0f, 1.0f}, {{3.0f, -0.2f}}, 0.01f);
  EXPECT_NEAR(row[0], 0.99f, 1e-6f);
  EXPECT_NEAR(row[1], 1.01f, 1e-6f);
  // m = g * (1 - beta_1), v = g^2 * (1 - beta_2), both as tf_keras rounds.
  EXPECT_FLOAT_EQ(row[2], 0.3f);
  EXPECT_FLOAT_EQ(row[4], 0.009f);
}

TEST(OptimizerTest, AdamFollowsItsEquationsInDouble) {
  std::vector<std::vector<float>> gradients;
  double w = 0.5, m = 0, v = 0;
  for (int t = 1; t <= 200; ++t) {
    const float g = static_cast<float>(std::sin(t * 0.7)) * 0.3f;
    gradients.push_back({g});
    m += (g - m) * (1 - 0.9);
    v += (double{g} * g - v) * (1 - 0.999);
    const double alpha =
        0.01 * std::sqrt(1 - std::pow(0.999, t)) / (1 - std::pow(0.9, t));
    w -= m * alpha / (std::sqrt(v) + 1e-7);
  }
  const std::vector<float> row =
      RunSteps({"adam", {0.9f, 0.999f, 1e-7f}}, {0.5f}, gradients, 0.01f);
  EXPECT_NEAR(row[0], w, 1e-5);
}

TEST(OptimizerTest, AmsgradDividesByTheLargestVelocity) {
  const std::vector<std::vector<float>> gradients = {{8.0f}, {0.0f}, {0.0f}};
  const std::vector<float> row = RunSteps(
      {"adam", {0.0f, 0.5f, 1e-7f, 1.0f, 0.0f}}, {1.0f}, gradients, 0.1f);
  EXPECT_FLOAT_EQ(row[2], 8.0f);   // 32 / 2 / 2
  EXPECT_FLOAT_EQ(row[3], 32.0f);  // (1 - 0.5) * 64
}

TEST(OptimizerTest, AdamByRowCountsTheStepsOfTheRow) {
  // As Adam at global steps 1, 2, ..., whatever the global step; also beyond
  // the steps whose correction is kept.
  auto by_row = MakeOptimizer({"adam", {0.9f, 0.999f, 1e-7f, 0.0f, 1.0f}});
  auto global = MakeOptimizer({"adam", {0.9f, 0.999f, 1e-7f}});
  ASSERT_TRUE(by_row.ok() && global.ok());
  EXPECT_EQ((*by_row)->slot_floats(3), 7);
  std::vector<float> row = {1.0f, 2.0f, 3.0f, 0, 0, 0, 0, 0, 0, -1.0f};
  std::vector<float> expected = row;
  (*by_row)->InitializeSlots(3, row.data(), row.data() + 3);
  EXPECT_EQ(row.back(), 0.0f);
  const auto step = [](const Optimizer& optimizer, int64_t global_step,
                       const float* gradient, std::vector<float>* row) {
    float* const weights[] = {row->data()};
    float* const slots[] = {row->data() + 3};
    optimizer.Apply(optimizer.Prepare(0.01f, global_step), 3, 1, weights, slots,
                    &gradient);
  };
  for (int t = 1; t <= 1500; ++t) {
    const float gradient[] = {std::sin(t * 0.7f), std::cos(t * 1.1f), 0.1f};
    step(**by_row, 1000000 + 7 * t, gradient, &row);
    step(**global, t, gradient, &expected);
  }
  EXPECT_EQ(row.back(), 1500.0f);
  for (int j = 0; j < 9; ++j) EXPECT_NEAR(row[j], expected[j], 1e-5) << j;
}

TEST(OptimizerTest, FtrlSoftThresholdsTheDual) {
  // n = 9 -> 25, sigma = (5 - 3) / 0.5 = 4; z = 4 - 4 * 2 = -4; quadratic = 5 /
  // 0.5 + 2 * 1 = 12; weights = (4 - 1) / 12.
  const std::vector<float> row = RunSteps(
      {"ftrl", {-0.5f, 9.0f, 1.0f, 1.0f, 0.0f, 0.0f}}, {2.0f}, {{4.0f}}, 0.5f);
  EXPECT_EQ(row, (std::vector<float>{0.25f, 25.0f, -4.0f}));
  // |z| <= l1 is 0; with the other sign the weight has the other sign.
  EXPECT_EQ(RunSteps({"ftrl", {-0.5f, 9.0f, 4.0f, 1.0f, 0.0f, 0.0f}}, {2.0f},
                     {{4.0f}}, 0.5f)[0],
            0.0f);
  EXPECT_EQ(RunSteps({"ftrl", {-0.5f, 9.0f, 1.0f, 1.0f, 0.0f, 0.0f}}, {-2.0f},
                     {{-4.0f}}, 0.5f)[0],
            -0.25f);
}

TEST(OptimizerTest, FtrlAddsBetaAndShrinkage) {
  // beta / rate = 4 more below: -z = 4 - 1 over 16. Shrinkage: z += 2 * 0.25 *
  // 2 = 1.
  EXPECT_EQ(RunSteps({"ftrl", {-0.5f, 9.0f, 1.0f, 1.0f, 0.0f, 2.0f}}, {2.0f},
                     {{4.0f}}, 0.5f)[0],
            3.0f / 16);
  EXPECT_EQ(RunSteps({"ftrl", {-0.5f, 9.0f, 1.0f, 1.0f, 0.25f, 0.0f}}, {2.0f},
                     {{4.0f}}, 0.5f)[0],
            2.0f / 12);
}

TEST(OptimizerTest, FtrlOfAnyPowerAgreesAtTheSquareRoot) {
  std::vector<std::vector<float>> gradients;
  for (int t = 0; t < 100; ++t) gradients.push_back({std::sin(t * 0.7f)});
  const std::vector<float> root = RunSteps(
      {"ftrl", {-0.5f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f}}, {0.5f}, gradients, 0.1f);
  const std::vector<float> power = RunSteps(
      {"ftrl", {std::nextafter(-0.5f, 0.0f), 0.1f, 0.1f, 0.1f, 0.1f, 0.1f}},
      {0.5f}, gradients, 0.1f);
  for (size_t j = 0; j < 3; ++j) EXPECT_NEAR(power[j], root[j], 1e-5);
}

TEST(OptimizerTest, FtrlWithoutGradientOrRateIsNotANumberNowhere) {
  for (const char* kind : {"ftrl", "group_ftrl"}) {
    OptimizerConfig config = {kind, {0.0f, 0.0f, 0.1f, 0.0f, 0.1f}};
    if (config.kind == "ftrl") {
      config.hyperparameters = {-0.5f, 0.0f, 0.1f, 0.0f, 0.0f, 0.0f};
    }
    for (const float value : RunSteps(config, {2.0f}, {{0.0f}}, 0.5f)) {
      EXPECT_TRUE(std::isfinite(value)) << kind;
    }
    EXPECT_EQ(RunSteps(config, {2.0f}, {{1.0f}}, 0.0f),
              (std::vector<float>{2.0f, 0.0f, 0.0f}))
        << kind;
  }
}

TEST(OptimizerTest, GroupLassoWithoutGroupsIsTheOptimizerItself) {
  std::vector<std::vector<float>> gradients;
  for (int t = 0; t < 60; ++t) {
    gradients.push_back({std::sin(t * 0.7f), std::cos(t * 1.3f)});
  }
  const std::vector<float> weights = {0.5f, -0.25f};
  const auto expect_near = [](const std::vector<float>& row,
                              const std::vector<float>& expected) {
    for (size_t j = 0; j < row.size(); ++j) {
      EXPECT_NEAR(row[j], expected[j], 1e-5) << j;
    }
  };
  expect_near(RunSteps({"group_adagrad", {0.1f, 1e-3f, 0, 0, 0}}, weights,
                       gradients, 0.1f),
              RunSteps({"adagrad", {0.1f, 1e-3f}}, weights, gradients, 0.1f));
  expect_near(RunSteps({"group_ftrl", {0.1f, 0.2f, 0.3f, 0.4f, 0.0f}}, weights,
                       gradients, 0.1f),
              RunSteps({"ftrl", {-0.5f, 0.1f, 0.3f, 0.4f, 0.0f, 0.2f}}, weights,
                       gradients, 0.1f));
}

TEST(OptimizerTest, GroupLassoScalesOrDropsTheWholeRow) {
  // accumulator 0 + 16 = 16, Q = 4 / 2 = 2; -z = 2 * w - g = (5, -7, 1, 1, ...)
  // minus l1 = 1: s = (4, -6, 0, 0 ...). A = 1: |s| = sqrt(52), dim = 4.
  const std::vector<float> weights = {4.5f, -1.5f, 2.5f, 2.5f};
  const std::vector<std::vector<float>> gradients = {{4.0f, 4.0f, 4.0f, 4.0f}};
  const float norm = std::sqrt(52.0f);
  std::vector<float> row =
      RunSteps({"group_adagrad", {0.0f, 1e-30f, 1.0f, 0.0f, norm / 4}}, weights,
               gradients, 2.0f);
  // l21 sqrt(dim) is half of the norm: s / Q / 2.
  EXPECT_FLOAT_EQ(row[0], 1.0f);
  EXPECT_FLOAT_EQ(row[1], -1.5f);
  EXPECT_EQ(row[2], 0.0f);
  EXPECT_EQ(row[4], 16.0f);
  row = RunSteps({"group_adagrad", {0.0f, 1e-30f, 1.0f, 0.0f, norm}}, weights,
                 gradients, 2.0f);
  for (int j = 0; j < 4; ++j) EXPECT_EQ(row[j], 0.0f);
}

TEST(OptimizerTest, BatchSoftmaxEstimatesTheIntervalBetweenOccurrences) {
  auto made = MakeOptimizer({"batch_softmax", {}});
  ASSERT_TRUE(made.ok());
  EXPECT_EQ((*made)->slot_floats(1), 2);
  std::vector<float> row = {10.0f, -1.0f, -1.0f};
  (*made)->InitializeSlots(1, row.data(), row.data() + 1);
  float* const weights[] = {row.data()};
  float* const slots[] = {row.data() + 1};
  const float nan = std::nanf("");
  const float* const gradient[] = {&nan};
  // From step 0 to 6, then steps that a float does not tell apart.
  (*made)->Apply((*made)->Prepare(0.5f, 6), 1, 1, weights, slots, gradient);
  EXPECT_EQ(row[0], 8.0f);
  const int64_t late = (int64_t{1} << 40) + 1;
  (*made)->Apply((*made)->Prepare(1.0f, late), 1, 1, weights, slots, gradient);
  (*made)->Apply((*made)->Prepare(1.0f, late + 3), 1, 1, weights, slots,
                 gradient);
  EXPECT_EQ(row[0], 3.0f);
  // Training that went back to an earlier step does not count as negative.
  (*made)->Apply((*made)->Prepare(1.0f, 5), 1, 1, weights, slots, gradient);
  EXPECT_EQ(row[0], 0.0f);
}

TEST(OptimizerTest, ARowThatComesTwiceIsSteppedTwice) {
  auto optimizer = MakeOptimizer({"adagrad", {0.1f, 1e-7f}});
  ASSERT_TRUE(optimizer.ok());
  std::vector<float> row = {1.0f, 0.1f};
  const float gradient = 1.0f;
  float* const rows[] = {row.data(), row.data()};
  float* const slots[] = {row.data() + 1, row.data() + 1};
  const float* const gradients[] = {&gradient, &gradient};
  (*optimizer)
      ->Apply((*optimizer)->Prepare(0.5f, 1), 1, 2, rows, slots, gradients);
  EXPECT_EQ(row, RunSteps({"adagrad", {0.1f, 1e-7f}}, {1.0f}, {{1.0f}, {1.0f}},
                          0.5f));
}

TEST(OptimizerTest, ErrorsNameTheKindAndWhatItTakes) {
  ExpectError(MakeOptimizer({"lamb", {}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"'sgd', 'adagrad', ", "Received: 'lamb'"});
  ExpectError(MakeOptimizer({"sgd", {0.1f}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"'sgd' takes hyperparameters {}", "Received: {0.1}"});
  ExpectError(MakeOptimizer({"adagrad", {-1.0f, 0.0f}}).status(),
              absl::StatusCode::kInvalidArgument, {"initial_accumulator >= 0"});
  ExpectError(MakeOptimizer({"adagrad", {0.0f, 0.0f}}).status(),
              absl::StatusCode::kInvalidArgument, {"not both 0"});
  ExpectError(MakeOptimizer({"adam", {0.9f, 1.0f, 1e-7f}}).status(),
              absl::StatusCode::kInvalidArgument, {"beta_2 < 1"});
  ExpectError(MakeOptimizer({"adam", {0.9f, 0.999f}}).status(),
              absl::StatusCode::kInvalidArgument, {"epsilon > 0"});
  struct Refused {
    const char* kind;
    std::vector<float> hyperparameters;
    const char* part;
  };
  const Refused refused[] = {
      {"sgd", {1.5f, 0.0f}, "momentum <= 1"},
      {"sgd", {0.5f, 0.5f}, "nesterov: 0 or 1"},
      {"adam", {0.9f, 0.9f, 1e-7f, 2.0f, 0.0f}, "each 0 or 1"},
      {"adadelta", {1.0f, 1e-7f}, "rho < 1"},
      {"rmsprop", {0.9f, 0.0f, 0.0f, 0.0f}, "epsilon > 0"},
      {"ftrl", {0.5f, 0.1f, 0, 0, 0, 0}, "learning_rate_power <= 0"},
      {"ftrl", {-0.5f, 0.1f, -1.0f, 0, 0, 0}, "l1 >= 0"},
      {"group_adagrad", {0.0f, 0.0f, 0, 0, 0}, "not both 0"},
      {"group_ftrl", {0.1f, 0, 0, 0, std::nanf("")}, "l21 >= 0"},
      {"delay_compensated_sgd", {-1.0f}, "variance_control >= 0"},
      {"delay_compensated_adagrad", {0.1f, 0.0f, 0.0f}, "not both 0"},
      {"moving_average", {1.1f}, "momentum <= 1"},
      {"batch_softmax", {0.1f}, "takes hyperparameters {}"},
      {"row_wise_adagrad", {0.1f}, "epsilon >= 0"},
  };
  for (const Refused& one : refused) {
    ExpectError(MakeOptimizer({one.kind, one.hyperparameters}).status(),
                absl::StatusCode::kInvalidArgument,
                {one.kind, one.part, "Received: {"});
  }
}

}  // namespace
}  // namespace monolith_tf
