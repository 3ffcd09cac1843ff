#include "ops/cc/table/table_config.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ops/cc/table/initializer.h"
#include "ops/cc/table/optimizer.h"

namespace monolith_tf {
namespace {

// ", name: value" for each that is on.
std::string RegularizationText(const RegularizationConfig& config) {
  std::string text;
  const auto append = [&text](const char* name, float value) {
    if (value != 0) absl::StrAppend(&text, ", ", name, ": ", value);
  };
  append("weight_decay", config.weight_decay);
  append("l2", config.l2);
  append("clip_value", config.clip_value);
  append("clip_norm", config.clip_norm);
  append("max_norm", config.max_norm);
  return text;
}

}  // namespace

absl::Status TableConfig::Validate() const {
  if (name.empty()) {
    return absl::InvalidArgumentError(
        "a table's name must not be empty: initial rows depend on it. "
        "Received: \"\"");
  }
  if (dim < 1 || dim > kMaxDim) {
    return absl::InvalidArgumentError(
        absl::StrCat("dim of table \"", name, "\" must be in [1, ", kMaxDim,
                     "]. Received: ", dim));
  }
  absl::Status status = MakeOptimizer(optimizer).status();
  status.Update(MakeInitializer(initializer).status());
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("table \"", name, "\": ", status.message()));
  }
  return status;
}

std::string TableConfig::DebugString() const {
  return absl::StrCat(
      "{name: \"", name, "\", dim: ", dim, ", optimizer: ", optimizer.kind, "(",
      absl::StrJoin(optimizer.hyperparameters, ", "), ")",
      RegularizationText(optimizer.regularization),
      ", initializer: ", initializer.kind, "(",
      absl::StrJoin(initializer.parameters, ", "), "), seed: ", seed, "}");
}

bool operator==(const RegularizationConfig& a, const RegularizationConfig& b) {
  return a.weight_decay == b.weight_decay && a.l2 == b.l2 &&
         a.clip_value == b.clip_value && a.clip_norm == b.clip_norm &&
         a.max_norm == b.max_norm;
}

bool operator==(const OptimizerConfig& a, const OptimizerConfig& b) {
  return a.kind == b.kind && a.hyperparameters == b.hyperparameters &&
         a.regularization == b.regularization;
}

bool operator==(const InitializerConfig& a, const InitializerConfig& b) {
  return a.kind == b.kind && a.parameters == b.parameters;
}

bool operator==(const TableConfig& a, const TableConfig& b) {
  return a.name == b.name && a.dim == b.dim && a.optimizer == b.optimizer &&
         a.initializer == b.initializer && a.seed == b.seed;
}

}  // namespace monolith_tf
