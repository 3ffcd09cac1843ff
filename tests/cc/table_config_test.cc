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
                {"table \"movie\": dim must be in [1, 65536]",
                 "Received: " + std::to_string(dim)});
  }
}

TEST(TableConfigTest, AWrongPartIsNamedWithTheTable) {
  TableConfig config = SgdConfig(4);
  config.segments[0].optimizer.kind = "lamb";
  ExpectError(config.Validate(), absl::StatusCode::kInvalidArgument,
              {"table \"movie\": optimizer must be one of"});
  config = SgdConfig(4);
  config.segments[0].initializer.kind = "twos";
  ExpectError(config.Validate(), absl::StatusCode::kInvalidArgument,
              {"table \"movie\": initializer must be one of"});
}

TEST(TableConfigTest, EveryFieldCountsInEquality) {
  const TableConfig config = AdagradConfig(4);
  EXPECT_TRUE(config == AdagradConfig(4));
  TableConfig other = config;
  other.segments[0].dim = 5;
  EXPECT_TRUE(config != other);
  other = config;
  other.seed = 8;
  EXPECT_TRUE(config != other);
  other = config;
  other.segments[0].optimizer.hyperparameters[0] = 0.2f;
  EXPECT_TRUE(config != other);
  other = config;
  other.segments[0].initializer.parameters[1] = 0.2f;
  EXPECT_TRUE(config != other);
}

TEST(TableConfigTest, DebugStringShowsEveryField) {
  EXPECT_EQ(AdagradConfig(4).DebugString(),
            "{name: \"movie\", segments: [{dim: 4, optimizer: adagrad(0.1, "
            "1e-07), regularization: (0, 0, 0, 0, 0), initializer: "
            "uniform(-0.05, 0.05), precision: float32()}], seed: 7, "
            "admission: {all, min_count: 1, probability: 1, sketch_bytes: 0, "
            "window_seconds: 0, reads_zeros: 0}, eviction: {ttl_seconds: 0, "
            "max_rows: 0, max_bytes: 0, policy: lru}, tracks_changes: 1, "
            "initial_capacity: 0}");
}

}  // namespace
}  // namespace monolith_tf
