// request_bounds.h
//
// Bounds of the attributes of ops. Shape functions and kernels both check them,
// because eager calls run no shape function.

#ifndef MONOLITH_TF_OPS_CC_CONFIG_REQUEST_BOUNDS_H_
#define MONOLITH_TF_OPS_CC_CONFIG_REQUEST_BOUNDS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/partition.h"

namespace monolith_tf {

// Tables of one op: their counts come before the ids of each shard.
inline constexpr int64_t kMaxTables = 65536;
inline constexpr int64_t kMaxCounts = int64_t{1} << 24;

// Columns of gradients of concatenated vectors.
inline constexpr int64_t kMaxColumn = int64_t{1} << 40;

inline absl::Status CheckNumShards(int64_t num_shards) {
  if (num_shards >= 1 && num_shards <= kNumPartitions) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("`num_shards` must be in [1, ",
                                                 kNumPartitions,
                                                 "]. Received: ", num_shards));
}

// `num_shards` was checked.
inline absl::Status CheckNumTables(int64_t num_tables, int64_t num_shards) {
  if (num_tables >= 1 && num_tables <= kMaxTables &&
      num_tables * num_shards <= kMaxCounts) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "`num_tables` must be in [1, ", kMaxTables,
      "], and num_tables * num_shards at most ", kMaxCounts,
      ". Received: num_tables = ", num_tables, ", num_shards = ", num_shards));
}

inline absl::Status CheckDim(int64_t dim) {
  if (dim >= 1 && dim <= kMaxDim) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("`dims` must be in [1, ", kMaxDim, "]. Received: ", dim));
}

// `dims` has one entry for each of `num_tables`.
inline absl::Status CheckDims(const std::vector<int64_t>& dims,
                              int64_t num_tables) {
  if (static_cast<int64_t>(dims.size()) != num_tables) {
    return absl::InvalidArgumentError(absl::StrCat(
        "`dims` must have one entry per table. Received: ", dims.size(),
        " entries for ", num_tables, " tables"));
  }
  for (const int64_t dim : dims) {
    const absl::Status status = CheckDim(dim);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// Where the gradient of a feature begins in a wider one; -1 if it is separate.
inline absl::Status CheckFirstColumn(int64_t first) {
  if (first >= -1 && first <= kMaxColumn) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "`first_columns` must be columns in [0, ", kMaxColumn,
      "], or -1 for a feature with a separate gradient. Received: ", first));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_CONFIG_REQUEST_BOUNDS_H_
