#include "ops/cc/table/config_validation.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "ops/cc/config/table_config.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

TEST(ConfigValidationTest, ValidConfigsAreValid) {
  EXPECT_TRUE(ValidateConfig(SgdConfig(1)).ok());
  EXPECT_TRUE(ValidateConfig(AdagradConfig(16)).ok());
  EXPECT_TRUE(ValidateConfig(AdamConfig(kMaxDim)).ok());
}

TEST(ConfigValidationTest, AnEmptyNameIsRefused) {
  ExpectError(ValidateConfig(SgdConfig(4, "")),
              absl::StatusCode::kInvalidArgument, {"name must not be empty"});
}

TEST(ConfigValidationTest, ADimOutOfRangeIsRefused) {
  for (const int64_t dim : {int64_t{-4}, int64_t{0}, kMaxDim + 1}) {
    ExpectError(ValidateConfig(SgdConfig(dim)),
                absl::StatusCode::kInvalidArgument,
                {"table \"movie\": dim must be in [1, 65536]",
                 "Received: " + std::to_string(dim)});
  }
}

TEST(ConfigValidationTest, AWrongPartIsNamedWithTheTable) {
  TableConfig config = SgdConfig(4);
  config.segments[0].optimizer.kind = "lamb";
  ExpectError(ValidateConfig(config), absl::StatusCode::kInvalidArgument,
              {"table \"movie\": optimizer must be one of"});
  config = SgdConfig(4);
  config.segments[0].initializer.kind = "twos";
  ExpectError(ValidateConfig(config), absl::StatusCode::kInvalidArgument,
              {"table \"movie\": initializer must be one of"});
}

}  // namespace
}  // namespace monolith_tf
