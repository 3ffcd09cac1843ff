#include "ops/cc/features/wire_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/simd/instruction_set.h"

namespace monolith_tf {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

WireFormat Make(const char* name) {
  WireFormat format;
  EXPECT_TRUE(WireFormat::Make(name, &format).ok());
  return format;
}

uint16_t HalfOf(const WireFormat& format, float number) {
  uint16_t half;
  format.Narrow(&number, 1, &half);
  return half;
}

float FloatOf(const WireFormat& format, uint16_t half) {
  float number;
  format.Widen(&half, 1, &number);
  return number;
}

float OfBits(uint32_t bits) {
  float number;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
}

// Floats of every exponent, and all that stand next to a tie.
std::vector<float> ManyFloats() {
  std::vector<float> floats = {0.0f, -0.0f, kInfinity, -kInfinity};
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    const float number = OfBits(static_cast<uint32_t>(random()));
    if (!std::isnan(number)) floats.push_back(number);
  }
  for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
    for (const int shift : {13, 16}) {
      const uint32_t exact = bits << shift;
      for (const int64_t more : {-1, 0, 1}) {
        const auto half = uint32_t{1} << (shift - 1);
        const float number = OfBits(exact + half + static_cast<uint32_t>(more));
        if (!std::isnan(number)) floats.push_back(number);
      }
    }
  }
  return floats;
}

// The nearest of the format's finite numbers by search; ties to the even half.
uint16_t NearestHalf(const WireFormat& format, uint16_t largest, float number) {
  const double size = std::fabs(static_cast<double>(number));
  uint16_t low = 0;
  uint16_t high = largest;
  while (low < high) {
    const auto middle = static_cast<uint16_t>((low + high + 1) / 2);
    if (static_cast<double>(FloatOf(format, middle)) <= size) {
      low = middle;
    } else {
      high = static_cast<uint16_t>(middle - 1);
    }
  }
  if (low < largest) {
    const double below = size - static_cast<double>(FloatOf(format, low));
    const double above =
        static_cast<double>(FloatOf(format, static_cast<uint16_t>(low + 1))) -
        size;
    if (above < below || (above == below && low % 2 == 1)) ++low;
  }
  return static_cast<uint16_t>(low | (std::signbit(number) ? 0x8000 : 0));
}

void ExpectNearest(const char* name, uint16_t largest, uint16_t infinity) {
  const WireFormat format = Make(name);
  for (const float number : ManyFloats()) {
    if (std::isinf(number)) {
      ASSERT_EQ(HalfOf(format, number), infinity | (number < 0 ? 0x8000 : 0));
    } else {
      ASSERT_EQ(HalfOf(format, number), NearestHalf(format, largest, number))
          << number;
    }
  }
}

TEST(WireFormatTest, Bfloat16IsTheNearest) {
  ExpectNearest("bfloat16", 0x7F7F, 0x7F80);
}

TEST(WireFormatTest, Float16IsTheNearest) {
  ExpectNearest("float16", 0x7BFF, 0x7C00);
}

TEST(WireFormatTest, KnownNumbers) {
  const WireFormat brain = Make("bfloat16");
  EXPECT_EQ(HalfOf(brain, 1.0f), 0x3F80);
  EXPECT_EQ(HalfOf(brain, -2.0f), 0xC000);
  EXPECT_EQ(HalfOf(brain, 1.0f + 0x1p-8f), 0x3F80);  // A tie.
  EXPECT_EQ(HalfOf(brain, 1.0f + 0x3p-8f), 0x3F82);
  EXPECT_EQ(HalfOf(brain, std::numeric_limits<float>::max()), 0x7F7F);
  const WireFormat half = Make("float16");
  EXPECT_EQ(HalfOf(half, 1.0f), 0x3C00);
  EXPECT_EQ(HalfOf(half, 65504.0f), 0x7BFF);
  EXPECT_EQ(HalfOf(half, -1e30f), 0xFBFF);
  EXPECT_EQ(HalfOf(half, 0x1p-24f), 0x0001);
  EXPECT_EQ(HalfOf(half, 0x1p-25f), 0x0000);  // A tie.
  EXPECT_EQ(HalfOf(half, 0x3p-25f), 0x0002);
}

TEST(WireFormatTest, WhatIsNoNumberStaysNone) {
  for (const char* name : {"bfloat16", "float16"}) {
    const WireFormat format = Make(name);
    for (const uint32_t bits : {0x7F800001u, 0xFFC00000u, 0x7FFFFFFFu}) {
      EXPECT_TRUE(std::isnan(FloatOf(format, HalfOf(format, OfBits(bits)))));
    }
  }
}

TEST(WireFormatTest, EveryWordComesBack) {
  for (const char* name : {"bfloat16", "float16"}) {
    const WireFormat format = Make(name);
    for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
      const auto half = static_cast<uint16_t>(bits);
      const float number = FloatOf(format, half);
      if (std::isnan(number)) continue;
      ASSERT_EQ(HalfOf(format, number), half);
    }
  }
}

TEST(WireFormatTest, ExactFloatsKeepTheirBits) {
  const std::vector<float> floats = {0.1f, -kInfinity, 0x1p-149f, 3e38f};
  std::vector<uint16_t> halves(8);
  std::vector<float> back(4);
  WireFormat::SplitExact(floats.data(), 4, halves.data());
  WireFormat::JoinExact(halves.data(), 4, back.data());
  EXPECT_EQ(back, floats);
  EXPECT_EQ(halves[2], 0x0000);
  EXPECT_EQ(halves[3], 0xFF80);
}

TEST(WireFormatTest, AllInstructionSetsGiveTheSameBits) {
  const std::vector<float> floats = ManyFloats();
  const auto n = static_cast<int64_t>(floats.size());
  for (const auto loop_in : {NarrowToBfloat16In, NarrowToFloat16In}) {
    std::vector<uint16_t> portable(floats.size());
    loop_in(InstructionSet::kPortable)(floats.data(), n, portable.data());
    for (const InstructionSet set :
         {InstructionSet::kAvx2, WidestInstructionSet()}) {
      if (set > WidestInstructionSet()) continue;
      for (const int64_t begin : {0, 1, 7}) {
        std::vector<uint16_t> halves(floats.size());
        loop_in(set)(floats.data() + begin, n - begin, halves.data() + begin);
        std::copy_n(portable.data(), begin, halves.data());
        ASSERT_EQ(halves, portable);
      }
    }
  }
}

TEST(WireFormatTest, OtherNamesAreRefused) {
  WireFormat format;
  const absl::Status status = WireFormat::Make("float8", &format);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("'float8'"), std::string::npos);
}

}  // namespace
}  // namespace monolith_tf
