#include "ops/cc/table/table_config.h"

#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ops/cc/initializer/initializer.h"
#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/precision/precision.h"

namespace monolith_tf {
namespace {

constexpr int64_t kMaxWindowCount = 65535;

absl::Status CheckSegments(const TableConfig& config) {
  if (config.segments.empty()) {
    return absl::InvalidArgumentError("a table needs at least one segment.");
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
    return refuse("kind must be one of \"all\", \"count\", \"sketch\", ",
                  "\"probability\". Received: \"", admission.kind, "\"");
  }
  if (!counts && admission.window_seconds != 0) {
    return refuse("only \"count\" and \"sketch\" take window_seconds, because ",
                  "they alone count. Received: kind \"", admission.kind,
                  "\", window_seconds ", admission.window_seconds);
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
  if (eviction.max_rows < 0 || eviction.max_bytes < 0) {
    return refuse("max_rows and max_bytes must be >= 0. Received: ",
                  eviction.max_rows, " and ", eviction.max_bytes);
  }
  if (eviction.policy != "lru" && eviction.policy != "lfu" &&
      eviction.policy != "lowest_norm") {
    return refuse("policy must be one of \"lru\", \"lfu\", \"lowest_norm\". ",
                  "Received: \"", eviction.policy, "\"");
  }
  const bool needs_times =
      eviction.ttl_seconds > 0 ||
      (eviction.has_cap() && eviction.policy != "lowest_norm");
  if (needs_times && !config.tracks_changes) {
    return refuse("a ttl and the policies \"lru\" and \"lfu\" need rows that ",
                  "know their time. Received: tracks_changes = false");
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

auto Fields(const RegularizationConfig& r) {
  return std::tie(r.weight_decay, r.l2, r.clip_value, r.clip_norm, r.max_norm);
}

auto Fields(const AdmissionConfig& a) {
  return std::tie(a.kind, a.min_count, a.probability, a.sketch_bytes,
                  a.window_seconds, a.reads_zeros);
}

auto Fields(const EvictionConfig& e) {
  return std::tie(e.ttl_seconds, e.max_rows, e.max_bytes, e.policy);
}

bool AreEqual(const SegmentConfig& a, const SegmentConfig& b) {
  return a.dim == b.dim && a.optimizer.kind == b.optimizer.kind &&
         a.optimizer.hyperparameters == b.optimizer.hyperparameters &&
         a.optimizer.regularization == b.optimizer.regularization &&
         a.initializer.kind == b.initializer.kind &&
         a.initializer.parameters == b.initializer.parameters &&
         a.precision.kind == b.precision.kind &&
         a.precision.parameters == b.precision.parameters;
}

std::string Describe(const SegmentConfig& segment) {
  const RegularizationConfig& r = segment.optimizer.regularization;
  return absl::StrCat("{dim: ", segment.dim,
                      ", optimizer: ", segment.optimizer.kind, "(",
                      absl::StrJoin(segment.optimizer.hyperparameters, ", "),
                      "), regularization: (", r.weight_decay, ", ", r.l2, ", ",
                      r.clip_value, ", ", r.clip_norm, ", ", r.max_norm,
                      "), initializer: ", segment.initializer.kind, "(",
                      absl::StrJoin(segment.initializer.parameters, ", "),
                      "), precision: ", segment.precision.kind, "(",
                      absl::StrJoin(segment.precision.parameters, ", "), ")}");
}

}  // namespace

int64_t TableConfig::dim() const {
  int64_t dim = 0;
  for (const SegmentConfig& segment : segments) dim += segment.dim;
  return dim;
}

absl::Status TableConfig::Validate() const {
  if (name.empty()) {
    return absl::InvalidArgumentError(
        "a table's name must not be empty: initial rows depend on it. "
        "Received: \"\"");
  }
  absl::Status status = CheckSegments(*this);
  status.Update(CheckAdmission(admission));
  status.Update(CheckEviction(*this));
  status.Update(CheckCapacity(*this));
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("table \"", name, "\": ", status.message()));
  }
  return status;
}

std::string TableConfig::DebugString() const {
  std::vector<std::string> parts;
  for (const SegmentConfig& segment : segments) {
    parts.push_back(Describe(segment));
  }
  return absl::StrCat(
      "{name: \"", name, "\", segments: [", absl::StrJoin(parts, ", "),
      "], seed: ", seed, ", admission: {", admission.kind,
      ", min_count: ", admission.min_count,
      ", probability: ", admission.probability,
      ", sketch_bytes: ", admission.sketch_bytes,
      ", window_seconds: ", admission.window_seconds,
      ", reads_zeros: ", admission.reads_zeros,
      "}, eviction: {ttl_seconds: ", eviction.ttl_seconds,
      ", max_rows: ", eviction.max_rows, ", max_bytes: ", eviction.max_bytes,
      ", policy: ", eviction.policy, "}, tracks_changes: ", tracks_changes,
      ", initial_capacity: ", initial_capacity, "}");
}

bool operator==(const RegularizationConfig& a, const RegularizationConfig& b) {
  return Fields(a) == Fields(b);
}

bool operator==(const TableConfig& a, const TableConfig& b) {
  if (a.segments.size() != b.segments.size()) return false;
  for (size_t s = 0; s < a.segments.size(); ++s) {
    if (!AreEqual(a.segments[s], b.segments[s])) return false;
  }
  return a.name == b.name && a.seed == b.seed &&
         Fields(a.admission) == Fields(b.admission) &&
         Fields(a.eviction) == Fields(b.eviction) &&
         a.tracks_changes == b.tracks_changes;
}

}  // namespace monolith_tf
