// The packed int64 tensor that lookup and apply take.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_PACKED_IDS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_PACKED_IDS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/tensor.h"

namespace monolith_tf {

// Bounds of each table's ids in a packed tensor: `prefix` numbers, then one
// size per table, then `columns` columns with one entry per id.
struct PackedIds {
  const int64_t* prefix;
  std::vector<int64_t> sizes;    // per table
  std::vector<int64_t> offsets;  // per table, of its ids within a column
  int64_t total = 0;             // ids of all tables
  const int64_t* columns;        // start of the first column

  static absl::Status Parse(const tensorflow::Tensor& packed, int64_t prefix,
                            int64_t num_tables, int64_t columns,
                            PackedIds* out) {
    if (packed.dims() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("packed must be a vector. Received: shape ",
                       packed.shape().DebugString(), "."));
    }
    const int64_t size = packed.NumElements();
    if (size < prefix + num_tables) {
      return absl::InvalidArgumentError(absl::StrCat(
          "packed must start with ", prefix + num_tables, " numbers for ",
          num_tables, " tables. Received: ", size, " numbers."));
    }
    const int64_t* data = packed.flat<int64_t>().data();
    const int64_t left = size - prefix - num_tables;
    out->prefix = data;
    out->sizes.assign(data + prefix, data + prefix + num_tables);
    out->offsets.clear();
    out->total = 0;
    for (const int64_t n : out->sizes) {
      if (n < 0 || n > left) {
        return absl::InvalidArgumentError(
            absl::StrCat("packed must give each table from 0 to ", left,
                         " ids. Received: ", n, "."));
      }
      out->offsets.push_back(out->total);
      out->total += n;
    }
    if (out->total * columns != left) {
      return absl::InvalidArgumentError(
          absl::StrCat("packed must have ", out->total * columns,
                       " numbers after its sizes, ", columns, " columns of ",
                       out->total, " ids. Received: ", left, "."));
    }
    out->columns = data + prefix + num_tables;
    return absl::OkStatus();
  }

  // The table of the `id`-th id of a column, id < total.
  int64_t TableOf(int64_t id) const {
    // Tables without ids begin at the same offset; the last one has the id.
    return std::upper_bound(offsets.begin(), offsets.end(), id) -
           offsets.begin() - 1;
  }
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_PACKED_IDS_H_
