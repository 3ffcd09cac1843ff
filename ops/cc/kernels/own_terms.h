// Checks the own terms that features bring for their ids.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_OWN_TERMS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_OWN_TERMS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/admission/packed_count.h"

namespace monolith_tf {

// Tables check their own limits; here the terms have to fit into their bits.
inline absl::Status CheckOwnTerms(int64_t own_terms) {
  if (AreOwnTerms(own_terms)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "`own_terms` must be bar + 65536 * ttl + 2^47 * by_lot, a bar that is a ",
      "min_count to ", kMaxOwnMinCount, " or, by lot, a probability to ",
      kCertainThreshold, ", and ttl to 2^31 - 1, 0 for none; got ", own_terms,
      "."));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_OWN_TERMS_H_
