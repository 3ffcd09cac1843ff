// Every loop gives the same bits in every instruction set of this machine.

#include "ops/cc/optimizer/row_loops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "ops/cc/hash/hash.h"
#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/simd/instruction_set.h"

namespace monolith_tf {
namespace {

constexpr int64_t kDims[] = {1, 2, 3, 8, 15, 16, 17, 31, 33, 64, 100};

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
    {"momentum", MomentumLoop, 1, {0.01f, 0.87f}},
    {"nesterov", NesterovLoop, 1, {0.01f, 0.87f}},
    {"delay compensated sgd", DelayCompensatedSgdLoop, 1, {0.01f, 0.3f}},
    {"moving average", MovingAverageLoop, 0, {0.0f, 0.7f, 0.3f}},
    {"adagrad", AdagradLoop, 1, {0.01f, 1e-7f}},
    {"row-wise adagrad", RowWiseAdagradLoop, 1, {0.01f, 1e-7f}},
    {"delay compensated adagrad",
     DelayCompensatedAdagradLoop,
     2,
     {0.01f, 1e-7f, 0.3f}},
    {"adadelta", AdadeltaLoop, 2, {0.5f, 1e-3f, 0.93f, 0.07f}},
    {"rmsprop", RmspropLoop, 1, {0.01f, 1e-3f, 0.83f, 0.17f}},
    {"rmsprop, momentum",
     MomentumRmspropLoop,
     2,
     {0.01f, 1e-3f, 0.83f, 0.17f, 0.6f}},
    {"rmsprop, centered", CenteredRmspropLoop, 2, {0.01f, 1e-3f, 0.83f, 0.17f}},
    {"rmsprop, both",
     CenteredMomentumRmspropLoop,
     3,
     {0.01f, 1e-3f, 0.83f, 0.17f, 0.6f}},
    {"adam", AdamLoop, 2, {0.01f, 1e-7f, 0.1f, 0.001f}},
    {"amsgrad", AmsgradLoop, 3, {0.01f, 1e-7f, 0.1f, 0.001f}},
    {"ftrl", FtrlLoop, 2, {0.03f, 0.2f, 0.07f, 0.05f}},
    {"group adagrad", GroupAdagradLoop, 1, {0.03f, 1e-6f, 0.01f, 0.02f, 0.1f}},
    {"group ftrl", GroupFtrlLoop, 2, {0.03f, 0.2f, 0.03f, 0.05f}},
    {"regularize", RegularizeLoop, 1, {0.01f, 0.1f, 0.2f, 0.3f}},
    {"clip norm", ClipNormLoop, 1, {0.7f}},
    {"max norm", MaxNormLoop, 1, {0.7f}},
};

TEST(RowLoopsTest, EveryInstructionSetGivesTheSameBits) {
  for (const NamedRule& rule : kRules) {
    for (const int64_t dim : kDims) {
      const std::vector<float> expected =
          RunLoop(dim, rule.num_slots, rule.loop(InstructionSet::kPortable),
                  rule.scalars);
      for (const float value : expected) ASSERT_TRUE(std::isfinite(value));
      for (const InstructionSet set : InstructionSets()) {
        EXPECT_EQ(RunLoop(dim, rule.num_slots, rule.loop(set), rule.scalars),
                  expected)
            << rule.name << ", dim " << dim;
      }
    }
  }
}

TEST(RowLoopsTest, EveryLoopChangesTheRows) {
  for (const NamedRule& rule : kRules) {
    const RowLoop nothing = [](int64_t, int, float* const*, float* const*,
                               const float* const*, const float*) {};
    EXPECT_NE(RunLoop(16, rule.num_slots, rule.loop(InstructionSet::kPortable),
                      rule.scalars),
              RunLoop(16, rule.num_slots, nothing, rule.scalars))
        << rule.name;
  }
}

TEST(RowLoopsTest, OnlyFiniteGradientsUpToALimitAreBounded) {
  const float nan = std::nanf("");
  for (const InstructionSet set : InstructionSets()) {
    const BoundedLoop bounded = FiniteAndBoundedLoop(set);
    for (const int64_t dim : kDims) {
      std::vector<float> gradient(dim, -0x1p48f);
      EXPECT_TRUE(bounded(dim, gradient.data()));
      for (int64_t j = 0; j < dim; ++j) {
        for (const float bad : {nan, -nan, HUGE_VALF, -HUGE_VALF,
                                std::nextafter(0x1p48f, HUGE_VALF)}) {
          gradient[j] = bad;
          EXPECT_FALSE(bounded(dim, gradient.data())) << bad;
        }
        gradient[j] = 0x1p48f;
      }
    }
  }
  EXPECT_TRUE(FiniteAndBounded(nullptr, 0));
}

}  // namespace
}  // namespace monolith_tf
