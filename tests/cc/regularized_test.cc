#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/optimizer/optimizer.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

// One step of the optimizer on one row without slots.
std::vector<float> StepOnce(const RegularizationConfig& regularization,
                            std::vector<float> weights,
                            const std::vector<float>& gradient, float rate) {
  auto made = MakeOptimizer({"sgd", {}, regularization});
  EXPECT_TRUE(made.ok()) << made.status();
  float* const rows[] = {weights.data()};
  float* const slots[] = {nullptr};
  const float* const gradients[] = {gradient.data()};
  (*made)->Apply((*made)->Prepare(rate, 1),
                 static_cast<int64_t>(weights.size()), 1, rows, slots,
                 gradients);
  return weights;
}

TEST(RegularizedTest, WeightDecayTakesAShareOfTheWeightsBeforeTheStep) {
  RegularizationConfig config;
  config.weight_decay = 0.5f;
  // 4 - 4 * 0.5 * 0.5 = 3, then - 0.5 * 2.
  EXPECT_EQ(StepOnce(config, {4.0f, 0.0f}, {2.0f, -2.0f}, 0.5f),
            (std::vector<float>{2.0f, 1.0f}));
}

TEST(RegularizedTest, L2AddsToTheGradient) {
  RegularizationConfig config;
  config.l2 = 0.25f;
  // 2 + 2 * 0.25 * 4 = 4.
  EXPECT_EQ(StepOnce(config, {4.0f}, {2.0f}, 0.5f), std::vector<float>{2.0f});
}

TEST(RegularizedTest, ClipValueBoundsEachElement) {
  RegularizationConfig config;
  config.clip_value = 1.0f;
  EXPECT_EQ(StepOnce(config, {0.0f, 0.0f, 0.0f}, {2.0f, -3.0f, 0.5f}, 1.0f),
            (std::vector<float>{-1.0f, 1.0f, -0.5f}));
}

TEST(RegularizedTest, ClipNormBoundsTheGradientOfARow) {
  RegularizationConfig config;
  config.clip_norm = 1.0f;
  const std::vector<float> row = StepOnce(config, {0.0f, 0.0f}, {3, -4}, 1.0f);
  EXPECT_FLOAT_EQ(row[0], -0.6f);
  EXPECT_FLOAT_EQ(row[1], 0.8f);
  EXPECT_EQ(StepOnce(config, {0.0f}, {0.5f}, 1.0f), std::vector<float>{-0.5f});
  EXPECT_EQ(StepOnce(config, {1.0f}, {0.0f}, 1.0f), std::vector<float>{1.0f});
}

TEST(RegularizedTest, L2IsClippedWithTheGradientAndDecayIsNot) {
  RegularizationConfig config;
  config.l2 = 1.0f;
  config.clip_value = 1.0f;
  config.weight_decay = 0.5f;
  // The gradient 1 + 2 * 1 * 4 = 9 is cut to 1; 4 - 4 * 0.5 = 2.
  EXPECT_EQ(StepOnce(config, {4.0f}, {1.0f}, 1.0f), std::vector<float>{1.0f});
}

TEST(RegularizedTest, MaxNormBoundsTheRowAfterTheStep) {
  RegularizationConfig config;
  config.max_norm = 1.0f;
  const std::vector<float> row = StepOnce(config, {0.0f, 0.0f}, {-3, 4}, 1.0f);
  EXPECT_NEAR(row[0], 0.6f, 1e-6);
  EXPECT_NEAR(row[1], -0.8f, 1e-6);
  EXPECT_EQ(StepOnce(config, {0.0f}, {0.0f}, 1.0f), std::vector<float>{0.0f});
}

TEST(RegularizedTest, SlotsSeeTheClippedGradientAndLongRowsFit) {
  auto made = MakeOptimizer({"adagrad", {0.0f, 1.0f}, {0, 0, 2.0f, 0, 0}});
  ASSERT_TRUE(made.ok());
  constexpr int64_t kDim = 5000;
  std::vector<float> row(2 * kDim, 1.0f);
  (*made)->InitializeSlots(kDim, row.data(), row.data() + kDim);
  const std::vector<float> gradient(kDim, 100.0f);
  // Twice the same row in one call.
  float* const rows[] = {row.data(), row.data()};
  float* const slots[] = {row.data() + kDim, row.data() + kDim};
  const float* const gradients[] = {gradient.data(), gradient.data()};
  (*made)->Apply((*made)->Prepare(0.1f, 1), kDim, 2, rows, slots, gradients);
  for (int64_t j = 0; j < kDim; ++j) ASSERT_EQ(row[kDim + j], 8.0f);
}

TEST(RegularizedTest, ErrorsNameTheRegularizationAndWhatItTakes) {
  for (int field = 0; field < 5; ++field) {
    for (const float bad : {-1.0f, HUGE_VALF, std::nanf("")}) {
      float numbers[5] = {};
      numbers[field] = bad;
      const RegularizationConfig config = {numbers[0], numbers[1], numbers[2],
                                           numbers[3], numbers[4]};
      ExpectError(MakeOptimizer({"sgd", {}, config}).status(),
                  absl::StatusCode::kInvalidArgument,
                  {"'sgd' takes regularization", ">= 0", "Received: {"});
    }
  }
  RegularizationConfig config;
  config.max_norm = 1.0f;
  ExpectError(MakeOptimizer({"moving_average", {0.5f}, config}).status(),
              absl::StatusCode::kInvalidArgument, {"statistic"});
  ExpectError(MakeOptimizer({"batch_softmax", {}, config}).status(),
              absl::StatusCode::kInvalidArgument, {"statistic"});
}

TEST(RegularizedTest, ConfigsDifferByTheirRegularization) {
  TableConfig a = SgdConfig(2);
  TableConfig b = SgdConfig(2);
  EXPECT_EQ(a, b);
  b.segments[0].optimizer.regularization.clip_norm = 0.5f;
  EXPECT_NE(a, b);
  EXPECT_NE(b.DebugString().find("0, 0, 0, 0.5, 0"), std::string::npos);
}

}  // namespace
}  // namespace monolith_tf
