#include "ops/cc/table/optimizer.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "ops/cc/table/optimizer_families.h"
#include "ops/cc/table/row_loops.h"

namespace monolith_tf {
namespace {

absl::Status Refusal(const OptimizerConfig& config,
                     absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(
      "optimizer \"", config.kind, "\" takes hyperparameters ", expected,
      ". Received: {", absl::StrJoin(config.hyperparameters, ", "), "}"));
}

bool AreFinite(const std::vector<float>& numbers, size_t num_expected) {
  if (numbers.size() != num_expected) return false;
  for (const float number : numbers) {
    if (!std::isfinite(number)) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Optimizer>> MakeOptimizer(
    const OptimizerConfig& config) {
  const std::vector<float>& h = config.hyperparameters;
  if (config.kind == "sgd") {
    if (!h.empty()) return Refusal(config, "{}");
    return MakeSgd();
  }
  if (config.kind == "adagrad") {
    // With both zero, a zero in the first gradient would be 0 / 0.
    if (!AreFinite(h, 2) || h[0] < 0 || h[1] < 0 || h[0] + h[1] == 0) {
      return Refusal(config,
                     "{initial_accumulator >= 0, epsilon >= 0}, not both 0");
    }
    return MakeAdagrad(h[0], h[1]);
  }
  if (config.kind == "adam") {
    if (!AreFinite(h, 3) || h[0] < 0 || h[0] >= 1 || h[1] < 0 || h[1] >= 1 ||
        h[2] <= 0) {
      return Refusal(config, "{0 <= beta_1 < 1, 0 <= beta_2 < 1, epsilon > 0}");
    }
    return MakeAdam(h[0], h[1], h[2]);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("optimizer must be one of \"sgd\", \"adagrad\", \"adam\". "
                   "Received: \"",
                   config.kind, "\""));
}

bool FiniteAndBounded(const float* gradient, int64_t n) {
  static const BoundedLoop loop = FiniteAndBoundedLoop(WidestInstructionSet());
  return loop(n, gradient);
}

}  // namespace monolith_tf
