#include "ops/cc/storage/crc32c.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace monolith_tf {
namespace {

TEST(Crc32cTest, VectorsOfRfc3720) {
  const std::string zeros(32, '\0');
  const std::string ones(32, '\xff');
  std::string ascending(32, '\0');
  std::iota(ascending.begin(), ascending.end(), 0);
  EXPECT_EQ(Crc32c(zeros.data(), 32), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(ones.data(), 32), 0x62A8AB43u);
  EXPECT_EQ(Crc32c(ascending.data(), 32), 0x46DD794Eu);
  EXPECT_EQ(Crc32c("123456789", 9), 0xE3069283u);
  EXPECT_EQ(Crc32c("", 0), 0u);
}

TEST(Crc32cTest, PiecesGiveTheChecksumOfTheWholeWithAndWithoutInstructions) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<char> data(random() % 300 + 1);
    for (char& byte : data) byte = static_cast<char>(random());
    const size_t split = random() % data.size();
    const uint32_t whole = Crc32c(data.data(), data.size());
    EXPECT_EQ(ExtendCrc32cPortable(0, data.data(), data.size()), whole);
    const uint32_t head = ExtendCrc32cPortable(0, data.data(), split);
    EXPECT_EQ(ExtendCrc32c(head, data.data() + split, data.size() - split),
              whole);
  }
}

}  // namespace
}  // namespace monolith_tf
