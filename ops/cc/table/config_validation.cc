#include "ops/cc/table/config_validation.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/initializer/initializer.h"
#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/precision/precision.h"

namespace monolith_tf {
namespace {

constexpr int64_t kMaxWindowCount = 65535;

absl::Status CheckSegments(const TableConfig& config) {
  if (config.segments.empty()) {
    return absl::InvalidArgumentError(
        "a table must have at least one segment. Received: none");
  }
  for (const SegmentConfig& segment : config.segments) {
    if (segment.dim < 1 || segment.dim > kMaxDim) {
      return absl::InvalidArgumentError(absl::StrCat(
          "dim must be in [1, ", kMaxDim, "]. Received: ", segment.dim));
    }
    absl::Status status = MakeOptimizer(segment.optimizer).status();
    status.Update(MakeInitializer(segment.initializer).status());
    status.Update(MakePrecision(segment.precision).status());
    if (!status.ok()) return status;
  }
  if (config.dim() > kMaxDim) {
    return absl::InvalidArgumentError(
        absl::StrCat("the dims of the segments must sum to at most ", kMaxDim,
                     ". Received: ", config.dim()));
  }
  return absl::OkStatus();
}

absl::Status CheckAdmission(const AdmissionConfig& admission) {
  const auto refuse = [](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat("admission: ", what...));
  };
  const bool counts = admission.kind == "count" || admission.kind == "sketch";
  if (!counts && admission.kind != "all" && admission.kind != "probability") {
    return refuse("kind must be one of 'all', 'count', 'sketch', ",
                  "'probability'. Received: '", admission.kind, "'");
  }
  if (!counts && admission.window_seconds != 0) {
    return refuse("window_seconds requires a kind that counts, 'count' or ",
                  "'sketch'. Received: kind '", admission.kind,
                  "', window_seconds ", admission.window_seconds);
  }
  if (admission.window_seconds < 0 || admission.window_seconds > UINT32_MAX) {
    return refuse("window_seconds must be in [0, 2^32). Received: ",
                  admission.window_seconds);
  }
  if (counts &&
      (admission.min_count < 1 || admission.min_count > kMaxWindowCount)) {
    return refuse("min_count must be in [1, ", kMaxWindowCount,
                  "]. Received: ", admission.min_count);
  }
  // 64 groups of at least one line of counters.
  if (admission.kind == "sketch" &&
      (admission.sketch_bytes < 4096 || admission.sketch_bytes > 1LL << 40)) {
    return refuse("sketch_bytes must be in [4096, 2^40]. Received: ",
                  admission.sketch_bytes);
  }
  if (admission.kind == "probability" &&
      !(admission.probability > 0 && admission.probability <= 1)) {
    return refuse("probability must be in (0, 1]. Received: ",
                  admission.probability);
  }
  return absl::OkStatus();
}

absl::Status CheckEviction(const TableConfig& config) {
  const EvictionConfig& eviction = config.eviction;
  const auto refuse = [](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat("eviction: ", what...));
  };
  if (eviction.ttl_seconds < 0 || eviction.ttl_seconds > UINT32_MAX) {
    return refuse("ttl_seconds must be in [0, 2^32). Received: ",
                  eviction.ttl_seconds);
  }
  if (eviction.max_future_seconds < 0 ||
      eviction.max_future_seconds > UINT32_MAX) {
    return refuse("max_future_seconds must be in [0, 2^32). Received: ",
                  eviction.max_future_seconds);
  }
  if (eviction.max_rows < 0 || eviction.max_bytes < 0) {
    return refuse("max_rows and max_bytes must be >= 0. Received: ",
                  eviction.max_rows, " and ", eviction.max_bytes);
  }
  if (eviction.policy != "lru" && eviction.policy != "lfu" &&
      eviction.policy != "lowest_norm") {
    return refuse("policy must be one of 'lru', 'lfu', 'lowest_norm'. ",
                  "Received: '", eviction.policy, "'");
  }
  const bool needs_times =
      eviction.ttl_seconds > 0 ||
      (eviction.has_cap() && eviction.policy != "lowest_norm");
  if (needs_times && !config.tracks_changes) {
    return refuse("ttl_seconds and the policies 'lru' and 'lfu' require ",
                  "tracks_changes = true, because they read times of rows. ",
                  "Received: tracks_changes = false");
  }
  return absl::OkStatus();
}

absl::Status CheckCapacity(const TableConfig& config) {
  constexpr int64_t kMaxCapacity = int64_t{1} << 36;
  const int64_t capacity = config.initial_capacity;
  if (capacity < 0 || capacity > kMaxCapacity) {
    return absl::InvalidArgumentError(absl::StrCat(
        "initial_capacity must be in [0, 2^36]. Received: ", capacity));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateConfig(const TableConfig& config) {
  if (config.name.empty()) {
    return absl::InvalidArgumentError(
        "A table's name must not be empty, because initial rows depend on it. "
        "Received: ''");
  }
  absl::Status status = CheckSegments(config);
  status.Update(CheckAdmission(config.admission));
  status.Update(CheckEviction(config));
  status.Update(CheckCapacity(config));
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("Table '", config.name, "': ", status.message()));
  }
  return status;
}

}  // namespace monolith_tf
