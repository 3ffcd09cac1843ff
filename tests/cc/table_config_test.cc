#include "ops/cc/config/table_config.h"

#include <gtest/gtest.h>

#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

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
            "{name: 'movie', segments: [{dim: 4, optimizer: adagrad(0.1, "
            "1e-07), regularization: (0, 0, 0, 0, 0), initializer: "
            "uniform(-0.05, 0.05), precision: float32()}], seed: 7, "
            "admission: {all, min_count: 1, probability: 1, sketch_bytes: 0, "
            "window_seconds: 0, reads_zeros: 0}, eviction: {ttl_seconds: 0, "
            "max_future_seconds: 0, max_rows: 0, max_bytes: 0, policy: lru}, "
            "tracks_changes: 1, "
            "initial_capacity: 0}");
}

}  // namespace
}  // namespace monolith_tf
