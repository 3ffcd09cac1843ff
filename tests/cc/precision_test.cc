#include "ops/cc/table/precision.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

TEST(PrecisionTest, Float32StoresTheWeightsThemselves) {
  auto precision = MakePrecision({});
  ASSERT_TRUE(precision.ok()) << precision.status();
  EXPECT_TRUE((*precision)->is_float32());
  EXPECT_FALSE((*precision)->has_forward());
  ASSERT_EQ((*precision)->bytes(3), 12);
  const std::vector<float> weights = {1.5f, -0x1p-149f, 3e38f};
  std::vector<char> stored(12);
  (*precision)->Encode(weights.data(), 3, /*key=*/7, stored.data());
  std::vector<float> decoded(3);
  (*precision)->Decode(stored.data(), 3, decoded.data());
  EXPECT_EQ(decoded, weights);
}

TEST(PrecisionTest, ErrorsNameTheKindAndWhatItTakes) {
  ExpectError(MakePrecision({"float8", {}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"precision must be", "Received: \"float8\""});
  ExpectError(MakePrecision({"float32", {1.0f}}).status(),
              absl::StatusCode::kInvalidArgument,
              {"\"float32\" takes parameters {}", "Received: {1}"});
}

}  // namespace
}  // namespace monolith_tf
