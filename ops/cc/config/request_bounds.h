// Bounds of the numbers that ops have as attributes. Shape functions and
// kernels both check them: eager calls come without those of the first.

#ifndef MONOLITH_TF_OPS_CC_CONFIG_REQUEST_BOUNDS_H_
#define MONOLITH_TF_OPS_CC_CONFIG_REQUEST_BOUNDS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/partition.h"

namespace monolith_tf {

// Tables of one op: their counts stand in front of the ids of each shard.
inline constexpr int64_t kMaxTables = 65536;
inline constexpr int64_t kMaxCounts = int64_t{1} << 24;

// Columns of gradients of concatenated vectors.
inline constexpr int64_t kMaxColumn = int64_t{1} << 40;

inline absl::Status CheckNumShards(int64_t num_shards) {
  if (num_shards >= 1 && num_shards <= kNumPartitions) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("num_shards must be at least 1 and at most ", kNumPartitions,
                   ", got ", num_shards, "."));
}

// `num_shards` was checked.
inline absl::Status CheckNumTables(int64_t num_tables, int64_t num_shards) {
  if (num_tables >= 1 && num_tables <= kMaxTables &&
      num_tables * num_shards <= kMaxCounts) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "num_tables must be from 1 to ", kMaxTables,
      ", and num_tables * num_shards at most ", kMaxCounts, "; got ",
      num_tables, " tables and ", num_shards, " shards."));
}

inline absl::Status CheckDim(int64_t dim) {
  if (dim >= 1 && dim <= kMaxDim) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("dims must be from 1 to ", kMaxDim, ", got ", dim, "."));
}

// `dims` has one entry for each of `num_tables`.
inline absl::Status CheckDims(const std::vector<int64_t>& dims,
                              int64_t num_tables) {
  if (static_cast<int64_t>(dims.size()) != num_tables) {
    return absl::InvalidArgumentError(
        absl::StrCat("`dims` needs one entry a table; got ", dims.size(),
                     " for ", num_tables, " tables."));
  }
  for (const int64_t dim : dims) {
    const absl::Status status = CheckDim(dim);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// Where the gradient of a feature begins in a wider one; -1 says that it is
// one of its own.
inline absl::Status CheckFirstColumn(int64_t first) {
  if (first >= -1 && first <= kMaxColumn) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("`first_columns` must be columns, up to ", kMaxColumn,
                   ", or -1 for a feature that has a gradient of its own; got ",
                   first, "."));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_CONFIG_REQUEST_BOUNDS_H_
