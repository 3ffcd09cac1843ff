#include "ops/cc/simd/loop_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "ops/cc/hash/hash.h"

namespace monolith_tf {
namespace {

TEST(LoopMathTest, RandomBitsAreThoseOfHash) {
  for (uint64_t key = 0; key < 1000; ++key) {
    EXPECT_EQ(loop_math::Mix64(key), Mix64(key));
    EXPECT_EQ(loop_math::ElementBits(Mix64(key), key),
              ElementBits(Mix64(key), key));
  }
  // Splitmix64 from seed 0.
  EXPECT_EQ(loop_math::ElementBits(0, 0), 0xE220A8397B1DCDAFULL);
  EXPECT_EQ(loop_math::ElementBits(0, 1), 0x6E789E6AA1B965F4ULL);
}

TEST(LoopMathTest, BitsAreThoseOfTheNumber) {
  EXPECT_EQ(loop_math::BitsOfFloat(-0.0f), loop_math::kSign);
  EXPECT_EQ(loop_math::FloatOfBits(loop_math::kInfinity), INFINITY);
  EXPECT_EQ(loop_math::BitsOfFloat(1.5f), 0x3FC00000u);
  EXPECT_EQ(loop_math::FloatOfBits(0x3FC00000u), 1.5f);
  EXPECT_EQ(loop_math::BitsOfDouble(-0.0), loop_math::kDoubleSign);
  EXPECT_EQ(loop_math::BitsOfDouble(1.5), 0x3FF8000000000000ULL);
  EXPECT_EQ(loop_math::DoubleOfBits(0x3FF8000000000000ULL), 1.5);
}

TEST(LoopMathTest, ClampedKeepsWhatIsInsideAndCutsTheRest) {
  EXPECT_EQ(loop_math::Clamped(0.5f, 1.0f), 0.5f);
  EXPECT_EQ(loop_math::Clamped(-0.5f, 1.0f), -0.5f);
  EXPECT_EQ(loop_math::Clamped(3.0f, 1.0f), 1.0f);
  EXPECT_EQ(loop_math::Clamped(-INFINITY, 1.0f), -1.0f);
  EXPECT_TRUE(std::isnan(
      loop_math::Clamped(std::numeric_limits<float>::quiet_NaN(), 1.0f)));
}

}  // namespace
}  // namespace monolith_tf
