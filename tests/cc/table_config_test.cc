#include "ops/cc/table/table_config.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

TEST(TableConfigTest, ValidConfigsAreValid) {
  EXPECT_TRUE(SgdConfig(1).Validate().ok());
  EXPECT_TRUE(AdagradConfig(16).Validate().ok());
  EXPECT_TRUE(AdamConfig(kMaxDim).Validate().ok());
}

TEST(TableConfigTest, AnEmptyNameIsRefused) {
  ExpectError(SgdConfig(4, "").Validate(), absl::StatusCode::kInvalidArgument,
              {"name must not be empty"});
}

TEST(TableConfigTest, ADimOutOfRangeIsRefused) {
  for (const int64_t dim : {int64_t{-4}, int64_t{0}, kMaxDim + 1}) {
    ExpectError(SgdConfig(dim).Validate(), absl::StatusCode::kInvalidArgument,
                {"dim of table \"movie\" must be in [1, 65536]",
                 "Received: " + std::to_string(dim)});
  }
}

TEST(TableConfigTest, AWrongPartIsNamedWithTheTable) {
  TableConfig config = SgdConfig(4);
  config.optimizer.kind = "lamb";
  ExpectError(config.Validate(), absl::StatusCode::kInvalidArgument,
              {"table \"movie\": optimizer must be one of"});
  config = SgdConfig(4);
  config.initializer.kind = "ones";
  ExpectError(config.Validate(), absl::StatusCode::kInvalidArgument,
              {"table \"movie\": initializer must be one of"});
}

TEST(TableConfigTest, EveryFieldCountsInEquality) {
  const TableConfig config = AdagradConfig(4);
  EXPECT_TRUE(config == AdagradConfig(4));
  TableConfig other = config;
  other.dim = 5;
  EXPECT_TRUE(config != other);
  other = config;
  other.seed = 8;
  EXPECT_TRUE(config != other);
  other = config;
  other.optimizer.hyperparameters[0] = 0.2f;
  EXPECT_TRUE(config != other);
  other = config;
  other.initializer.parameters[1] = 0.2f;
  EXPECT_TRUE(config != other);
}

TEST(TableConfigTest, DebugStringShowsEveryField) {
  EXPECT_EQ(AdagradConfig(4).DebugString(),
            "{name: \"movie\", dim: 4, optimizer: adagrad(0.1, 1e-07), "
            "initializer: uniform(-0.05, 0.05), seed: 7}");
}

}  // namespace
}  // namespace monolith_tf
