#include "ops/cc/config/request_bounds.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "absl/status/status.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(RequestBoundsTest, TheBoundsThemselvesAreFine) {
  for (const int64_t n : {1, 4096}) EXPECT_TRUE(CheckNumShards(n).ok());
  EXPECT_TRUE(CheckNumTables(1, 1).ok());
  EXPECT_TRUE(CheckNumTables(kMaxTables, kMaxCounts / kMaxTables).ok());
  for (const int64_t dim : {int64_t{1}, kMaxDim}) {
    EXPECT_TRUE(CheckDim(dim).ok());
  }
  EXPECT_TRUE(CheckDims({1, 2}, 2).ok());
  for (const int64_t first : {int64_t{-1}, int64_t{0}, kMaxColumn}) {
    EXPECT_TRUE(CheckFirstColumn(first).ok());
  }
}

TEST(RequestBoundsTest, WhatIsBeyondThemIsRefused) {
  for (const int64_t n : {0, 4097}) {
    ExpectError(CheckNumShards(n), kInvalid,
                {"`num_shards` must be in [1, 4096]. Received: "});
  }
  ExpectError(CheckNumTables(0, 1), kInvalid,
              {"`num_tables` must be in [1, 65536]", "num_tables = 0"});
  ExpectError(CheckNumTables(kMaxTables, 257), kInvalid,
              {"at most 16777216", "num_tables = 65536, num_shards = 257"});
  for (const int64_t dim : {int64_t{0}, kMaxDim + 1}) {
    ExpectError(CheckDim(dim), kInvalid,
                {"`dims` must be in [1, 65536]. Received: "});
  }
  ExpectError(CheckDims({1}, 2), kInvalid,
              {"one entry per table. Received: 1 entries for 2 tables"});
  ExpectError(CheckDims({1, 0}, 2), kInvalid, {"Received: 0"});
  for (const int64_t first : {int64_t{-2}, kMaxColumn + 1}) {
    ExpectError(CheckFirstColumn(first), kInvalid,
                {"`first_columns` must be columns in [0, ", "Received: "});
  }
}

}  // namespace
}  // namespace monolith_tf
