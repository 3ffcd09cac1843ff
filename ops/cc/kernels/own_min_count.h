// The min_count that features bring for their ids.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_OWN_MIN_COUNT_H_
#define MONOLITH_TF_OPS_CC_KERNELS_OWN_MIN_COUNT_H_

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace monolith_tf {

// What an id brings in all: the smallest of what its features bring, where 0
// stands for nothing. `least` is 0 at first.
inline void BringMinCount(int64_t min_count, int64_t* least) {
  if (min_count != 0 && (*least == 0 || min_count < *least)) *least = min_count;
}

// An entry of the counts that MonolithApply takes (ApplyRequest in table.h).
inline int64_t PackCount(int64_t count, int64_t min_count) {
  return min_count << 32 | count;
}

// Tables check their own limits; here a min_count has to fit into half a word.
inline absl::Status CheckOwnMinCount(int64_t min_count) {
  if (min_count >= 0 && min_count <= std::numeric_limits<int32_t>::max()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("`min_counts` must be from 1 to 2^31 - 1, or 0 for none; ",
                   "got ", min_count, "."));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_OWN_MIN_COUNT_H_
