#include "ops/cc/initializer/initializer.h"

#include <cmath>
#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace monolith_tf {
namespace {

absl::Status Refusal(const InitializerConfig& config,
                     absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(
      "initializer '", config.kind, "' takes ", expected, ". Received: {",
      absl::StrJoin(config.parameters, ", "), "}"));
}

absl::Status CheckParameters(const InitializerConfig& config,
                             size_t num_expected, absl::string_view names) {
  bool valid = config.parameters.size() == num_expected;
  for (const float parameter : config.parameters) {
    valid = valid && std::isfinite(parameter);
  }
  if (valid) return absl::OkStatus();
  return Refusal(
      config, absl::StrCat(num_expected, " finite parameters {", names, "}"));
}

// `reach`: the largest distance from the mean, in deviations.
absl::Status CheckNormal(const InitializerConfig& config, float reach) {
  absl::Status status = CheckParameters(config, 2, "mean, stddev");
  if (!status.ok()) return status;
  const std::vector<float>& p = config.parameters;
  if (p[1] < 0 || !std::isfinite(std::fabs(p[0]) + reach * p[1])) {
    return Refusal(config, absl::StrCat("stddev >= 0 with a finite mean + ",
                                        reach, " stddev"));
  }
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Initializer>> MakeInitializer(
    const InitializerConfig& config) {
  const std::vector<float>& parameters = config.parameters;
  absl::Status status;
  if (config.kind == "zeros" || config.kind == "ones") {
    status = CheckParameters(config, 0, "");
    if (!status.ok()) return status;
    return MakeConstant(config.kind == "ones" ? 1.0f : 0.0f);
  }
  if (config.kind == "constant") {
    status = CheckParameters(config, 1, "value");
    if (!status.ok()) return status;
    return MakeConstant(parameters[0]);
  }
  if (config.kind == "uniform") {
    status = CheckParameters(config, 2, "minval, maxval");
    if (!status.ok()) return status;
    if (!(parameters[0] <= parameters[1]) ||
        !std::isfinite(parameters[1] - parameters[0])) {
      return Refusal(config, "minval <= maxval with a finite difference");
    }
    return MakeUniform(parameters[0], parameters[1]);
  }
  if (config.kind == "normal") {
    status = CheckNormal(config, 9);
    if (!status.ok()) return status;
    return MakeNormal(parameters[0], parameters[1]);
  }
  if (config.kind == "truncated_normal") {
    status = CheckNormal(config, 2);
    if (!status.ok()) return status;
    return MakeTruncatedNormal(parameters[0], parameters[1]);
  }
  if (config.kind == "variance_scaling") {
    status = CheckParameters(config, 2, "scale, distribution");
    if (!status.ok()) return status;
    const float number = parameters[1];
    if (parameters[0] <= 0 || (number != 0 && number != 1 && number != 2)) {
      return Refusal(config,
                     "scale > 0 and distribution 0 (truncated normal), 1 "
                     "(untruncated normal) or 2 (uniform)");
    }
    return MakeVarianceScaling(parameters[0],
                               static_cast<Distribution>(number));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "initializer must be one of 'zeros', 'ones', 'constant', "
      "'uniform', 'normal', 'truncated_normal', 'variance_scaling'. "
      "Received: '",
      config.kind, "'"));
}

}  // namespace monolith_tf
