#include "ops/cc/memory/copy_floats.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace monolith_tf {
namespace {

std::vector<float> Numbers(int64_t n) {
  std::vector<float> numbers(n);
  for (int64_t i = 0; i < n; ++i) numbers[i] = static_cast<float>(i + 1);
  return numbers;
}

TEST(CopyFloatsTest, EveryLengthIsCopiedAndNothingBehindIt) {
  for (int64_t n = 0; n < 70; ++n) {
    const std::vector<float> from = Numbers(n);
    std::vector<float> to(n + 1, -1.0f);
    CopyFloats(from.data(), n, to.data());
    EXPECT_EQ(to.back(), -1.0f);
    to.pop_back();
    EXPECT_EQ(to, from);
  }
}

TEST(CopyFloatsTest, WholeAlignedLinesAreStreamed) {
  struct alignas(64) Lines {
    float floats[65];
  };
  const auto lines = std::make_unique<Lines>();
  float* const to = lines->floats;
  for (const int64_t n : {16, 32, 64}) {
    ASSERT_TRUE(CanStreamFloats(to, n));
    to[n] = -1.0f;
    const std::vector<float> from = Numbers(n);
    StreamFloats(from.data(), n, to);
    FenceStreams();
    EXPECT_EQ(std::vector<float>(to, to + n), from);
    EXPECT_EQ(to[n], -1.0f);
  }
  EXPECT_FALSE(CanStreamFloats(to, 8));
  EXPECT_FALSE(CanStreamFloats(to + 1, 16));
}

}  // namespace
}  // namespace monolith_tf
