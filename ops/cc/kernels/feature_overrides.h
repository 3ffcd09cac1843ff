// Checks the feature overrides that come with ids.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_FEATURE_OVERRIDES_H_
#define MONOLITH_TF_OPS_CC_KERNELS_FEATURE_OVERRIDES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/admission/packed_count.h"

namespace monolith_tf {

// The overrides fit into their bits. Tables check their own limits.
inline absl::Status CheckOverrides(int64_t overrides) {
  if (AreOverrides(overrides)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "overrides must be threshold + 65536 * ttl + 2^47 * is_probability, the "
      "threshold a min_count to ",
      kMaxOwnMinCount, " or a packed probability to ", kCertainThreshold,
      ", the ttl to 2^31 - 1 seconds, 0 for none. Received: ", overrides, "."));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_FEATURE_OVERRIDES_H_
