#include "ops/cc/table/precision.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace monolith_tf {

void Precision::Forward(const float* weights, int64_t dim, int64_t,
                        float* values) const {
  if (values == weights) return;
  std::memcpy(values, weights, static_cast<size_t>(dim) * sizeof(float));
}

void Precision::Backward(const float*, int64_t, int64_t, float*) const {}

absl::StatusOr<std::unique_ptr<const Precision>> MakePrecision(
    const PrecisionConfig& config) {
  if (config.kind == "float32") {
    if (!config.parameters.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("precision \"float32\" takes parameters {}. Received: {",
                       absl::StrJoin(config.parameters, ", "), "}"));
    }
    return MakeFloat32();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "precision must be \"float32\". Received: \"", config.kind, "\""));
}

}  // namespace monolith_tf
