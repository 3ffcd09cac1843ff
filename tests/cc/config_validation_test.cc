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
                {"Table 'movie': dim must be in [1, 65536]",
                 "Received: " + std::to_string(dim)});
  }
}

TEST(ConfigValidationTest, ATableHasSegments) {
  TableConfig config = SgdConfig(4);
  config.segments.clear();
  ExpectError(ValidateConfig(config), absl::StatusCode::kInvalidArgument,
              {"must have at least one segment. Received: none"});
  config = SgdConfig(kMaxDim);
  config.segments.push_back(config.segments[0]);
  ExpectError(ValidateConfig(config), absl::StatusCode::kInvalidArgument,
              {"must sum to at most 65536. Received: 131072"});
}

TEST(ConfigValidationTest, AWrongFieldIsNamedWithWhatWasExpected) {
  struct Case {
    void (*change)(TableConfig* config);
    const char* expected;
    const char* received;
  };
  const Case cases[] = {
      {[](TableConfig* c) { c->admission.kind = "some"; },
       "admission: kind must be one of 'all', 'count', 'sketch', 'probability'",
       "Received: 'some'"},
      {[](TableConfig* c) { c->admission.window_seconds = 5; },
       "admission: window_seconds requires a kind that counts",
       "Received: kind 'all', window_seconds 5"},
      {[](TableConfig* c) {
         c->admission.kind = "count";
         c->admission.window_seconds = -1;
       },
       "window_seconds must be in [0, 2^32)", "Received: -1"},
      {[](TableConfig* c) {
         c->admission.kind = "count";
         c->admission.min_count = 65536;
       },
       "min_count must be in [1, 65535]", "Received: 65536"},
      {[](TableConfig* c) {
         c->admission.kind = "sketch";
         c->admission.sketch_bytes = 4095;
       },
       "sketch_bytes must be in [4096, 2^40]", "Received: 4095"},
      {[](TableConfig* c) {
         c->admission.kind = "probability";
         c->admission.probability = 2;
       },
       "probability must be in (0, 1]", "Received: 2"},
      {[](TableConfig* c) { c->eviction.max_future_seconds = -3; },
       "eviction: max_future_seconds must be in [0, 2^32)", "Received: -3"},
      {[](TableConfig* c) { c->eviction.ttl_seconds = -3; },
       "eviction: ttl_seconds must be in [0, 2^32)", "Received: -3"},
      {[](TableConfig* c) { c->eviction.max_rows = -1; },
       "max_rows and max_bytes must be >= 0", "Received: -1 and 0"},
      {[](TableConfig* c) { c->eviction.policy = "fifo"; },
       "policy must be one of 'lru', 'lfu', 'lowest_norm'", "Received: 'fifo'"},
      {[](TableConfig* c) {
         c->eviction.ttl_seconds = 5;
         c->tracks_changes = false;
       },
       "require tracks_changes = true", "Received: tracks_changes = false"},
      {[](TableConfig* c) { c->initial_capacity = -1; },
       "initial_capacity must be in [0, 2^36]", "Received: -1"},
  };
  for (const Case& wrong : cases) {
    TableConfig config = SgdConfig(4);
    wrong.change(&config);
    ExpectError(ValidateConfig(config), absl::StatusCode::kInvalidArgument,
                {"Table 'movie': ", wrong.expected, wrong.received});
  }
}

TEST(ConfigValidationTest, AWrongPartIsNamedWithTheTable) {
  TableConfig config = SgdConfig(4);
  config.segments[0].optimizer.kind = "lamb";
  ExpectError(ValidateConfig(config), absl::StatusCode::kInvalidArgument,
              {"Table 'movie': optimizer must be one of"});
  config = SgdConfig(4);
  config.segments[0].initializer.kind = "twos";
  ExpectError(ValidateConfig(config), absl::StatusCode::kInvalidArgument,
              {"Table 'movie': initializer must be one of"});
}

}  // namespace
}  // namespace monolith_tf
