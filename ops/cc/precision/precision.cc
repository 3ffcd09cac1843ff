#include "ops/cc/precision/precision.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace monolith_tf {
namespace {

absl::Status Refusal(const PrecisionConfig& config,
                     absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(
      "precision '", config.kind, "' takes parameters ", expected,
      ". Received: {", absl::StrJoin(config.parameters, ", "), "}"));
}

// Far enough from both ends that no step or slope over- or underflows.
bool IsExtent(float number) { return number >= 1e-30f && number <= 1e30f; }

}  // namespace

void Precision::Forward(const float* weights, int64_t dim, int64_t,
                        float* values) const {
  if (values == weights) return;
  std::memcpy(values, weights, static_cast<size_t>(dim) * sizeof(float));
}

void Precision::Backward(const float*, int64_t, int64_t, float*) const {}

double Precision::Steepness(int64_t) const { return 1; }

absl::StatusOr<std::unique_ptr<const Precision>> MakePrecision(
    const PrecisionConfig& config) {
  const std::vector<float>& parameters = config.parameters;
  const bool is_plain = config.kind == "float32" || config.kind == "bfloat16" ||
                        config.kind == "float16";
  if (is_plain && !parameters.empty()) return Refusal(config, "{}");
  if (config.kind == "float32") return MakeFloat32();
  if (config.kind == "bfloat16") return MakeBfloat16();
  if (config.kind == "float16") return MakeFloat16();
  if (config.kind == "int8") {
    if (parameters.size() != 1 || !IsExtent(parameters[0])) {
      return Refusal(config, "{range}, from 1e-30 to 1e30");
    }
    return MakeInt8(parameters[0]);
  }
  if (config.kind == "onebit") {
    if (parameters.size() != 3 || !IsExtent(parameters[0]) ||
        !(parameters[1] >= 1 && parameters[1] <= 1e15f) ||
        parameters[1] != std::floor(parameters[1]) ||
        (parameters[2] != 1 && parameters[2] != 2)) {
      return Refusal(config,
                     "{amplitude, anneal_steps, bytes}, amplitude from 1e-30 "
                     "to 1e30, anneal_steps an integer from 1 to 1e15, and "
                     "bytes 1 or 2");
    }
    return MakeOnebit(parameters[0], parameters[1],
                      static_cast<int>(parameters[2]));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("precision must be one of 'float32', 'bfloat16', 'float16', "
                   "'int8', 'onebit'. Received: '",
                   config.kind, "'"));
}

}  // namespace monolith_tf
