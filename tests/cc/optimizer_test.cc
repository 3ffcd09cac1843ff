#include "ops/cc/table/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/table/hash.h"
#include "ops/cc/table/row_loops.h"
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

// Instruction sets that this machine has, the portable one first.
std::vector<InstructionSet> InstructionSets() {
  std::vector<InstructionSet> sets = {InstructionSet::kPortable};
  const InstructionSet widest = WidestInstructionSet();
  if (widest != InstructionSet::kPortable) {
    sets.push_back(InstructionSet::kAvx2);
  }
  if (widest == InstructionSet::kAvx512) sets.push_back(widest);
  return sets;
}

// 50 steps of `loop` on two rows of random floats.
std::vector<float> RunLoop(int64_t dim, int num_slots, RowLoop loop,
                           const float* scalars) {
  uint64_t bits = 0;
  const auto draw = [&bits] {
    return static_cast<float>(Mix64(++bits) >> 40) * 0x1p-24f;
  };
  const int64_t width = dim * (1 + num_slots);
  std::vector<float> floats(2 * width);
  for (float& value : floats) value = draw();
  float* const rows[] = {floats.data(), floats.data() + width};
  float* const slots[] = {rows[0] + dim, rows[1] + dim};
  std::vector<float> gradient(dim);
  const float* const gradients[] = {gradient.data(), gradient.data()};
  for (int step = 0; step < 50; ++step) {
    for (float& value : gradient) value = draw() - 0.5f;
    loop(dim, 2, rows, slots, gradients, scalars);
  }
  return floats;
}

struct NamedRule {
  const char* name;
  RowLoop (*loop)(InstructionSet);
  int num_slots;
  float scalars[6];
};

constexpr NamedRule kRules[] = {
    {"sgd", SgdLoop, 0, {0.01f}},
    {"adagrad", AdagradLoop, 1, {0.01f, 1e-7f}},
    {"adam", AdamLoop, 2, {0.01f, 1e-7f, 0.1f, 0.001f}},
};

TEST(OptimizerTest, EveryInstructionSetGivesTheSameBits) {
  for (const int64_t dim : {1, 3, 8, 16, 17, 33, 64}) {
    for (const auto& rule : kRules) {
      const std::vector<float> expected =
          RunLoop(dim, rule.num_slots, rule.loop(InstructionSet::kPortable),
                  rule.scalars);
      for (const InstructionSet set : InstructionSets()) {
        EXPECT_EQ(RunLoop(dim, rule.num_slots, rule.loop(set), rule.scalars),
                  expected)
            << rule.name << ", dim " << dim;
      }
    }
  }
}

TEST(OptimizerTest, OnlyFiniteGradientsUpToALimitAreBounded) {
  const float nan = std::nanf("");
  for (const InstructionSet set : InstructionSets()) {
    const BoundedLoop bounded = FiniteAndBoundedLoop(set);
    for (const int64_t dim : {1, 3, 16, 17, 40}) {
      for (int64_t j = 0; j < dim; ++j) {
        std::vector<float> gradient(dim, -0x1p48f);
        EXPECT_TRUE(bounded(dim, gradient.data()));
        for (const float bad : {nan, -nan, HUGE_VALF, -HUGE_VALF,
                                std::nextafter(0x1p48f, HUGE_VALF)}) {
          gradient[j] = bad;
          EXPECT_FALSE(bounded(dim, gradient.data())) << bad;
        }
      }
    }
  }
  EXPECT_TRUE(FiniteAndBounded(nullptr, 0));
}

TEST(OptimizerTest, SgdSubtractsRateTimesGradient) {
  EXPECT_EQ(
      RunSteps({"sgd", {}}, {1.0f, 2.0f}, {{4.0f, -8.0f}, {2.0f, 0.0f}}, 0.5f),
      (std::vector<float>{-2.0f, 6.0f}));
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
              {"\"sgd\", \"adagrad\", \"adam\"", "Received: \"lamb\""});
  ExpectError(MakeOptimizer({"sgd", {0.1f}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"\"sgd\" takes hyperparameters {}", "Received: {0.1}"});
  ExpectError(MakeOptimizer({"adagrad", {-1.0f, 0.0f}}).status(),
              absl::StatusCode::kInvalidArgument, {"initial_accumulator >= 0"});
  ExpectError(MakeOptimizer({"adagrad", {0.0f, 0.0f}}).status(),
              absl::StatusCode::kInvalidArgument, {"not both 0"});
  ExpectError(MakeOptimizer({"adam", {0.9f, 1.0f, 1e-7f}}).status(),
              absl::StatusCode::kInvalidArgument, {"beta_2 < 1"});
  ExpectError(MakeOptimizer({"adam", {0.9f, 0.999f}}).status(),
              absl::StatusCode::kInvalidArgument, {"epsilon > 0"});
}

}  // namespace
}  // namespace monolith_tf
