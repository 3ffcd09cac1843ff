#include "ops/cc/table/initializer.h"

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

absl::Status CheckParameters(const InitializerConfig& config,
                             size_t num_expected, absl::string_view names) {
  const std::vector<float>& parameters = config.parameters;
  bool valid = parameters.size() == num_expected;
  for (const float parameter : parameters) {
    valid = valid && std::isfinite(parameter);
  }
  if (valid) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("initializer \"", config.kind, "\" takes ", num_expected,
                   " finite parameters {", names, "}. Received: {",
                   absl::StrJoin(parameters, ", "), "}"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Initializer>> MakeInitializer(
    const InitializerConfig& config) {
  const std::vector<float>& parameters = config.parameters;
  absl::Status status;
  if (config.kind == "zeros") {
    status = CheckParameters(config, 0, "");
    if (!status.ok()) return status;
    return MakeConstant(0.0f);
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
      return absl::InvalidArgumentError(absl::StrCat(
          "initializer \"uniform\" takes minval <= maxval with a finite "
          "difference. Received: {",
          absl::StrJoin(parameters, ", "), "}"));
    }
    return MakeUniform(parameters[0], parameters[1]);
  }
  if (config.kind == "truncated_normal") {
    status = CheckParameters(config, 2, "mean, stddev");
    if (!status.ok()) return status;
    if (parameters[1] < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "initializer \"truncated_normal\" takes stddev >= 0. Received: {",
          absl::StrJoin(parameters, ", "), "}"));
    }
    return MakeTruncatedNormal(parameters[0], parameters[1]);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "initializer must be one of \"zeros\", \"constant\", \"uniform\", "
      "\"truncated_normal\". Received: \"",
      config.kind, "\""));
}

}  // namespace monolith_tf
