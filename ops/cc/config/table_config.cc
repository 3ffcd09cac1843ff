#include "ops/cc/config/table_config.h"

#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace monolith_tf {
namespace {

auto Fields(const RegularizationConfig& r) {
  return std::tie(r.weight_decay, r.l2, r.clip_value, r.clip_norm, r.max_norm);
}

auto Fields(const AdmissionConfig& a) {
  return std::tie(a.kind, a.min_count, a.probability, a.sketch_bytes,
                  a.window_seconds, a.reads_zeros);
}

auto Fields(const EvictionConfig& e) {
  return std::tie(e.ttl_seconds, e.max_future_seconds, e.max_rows, e.max_bytes,
                  e.policy);
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

std::string TableConfig::DebugString() const {
  std::vector<std::string> parts;
  for (const SegmentConfig& segment : segments) {
    parts.push_back(Describe(segment));
  }
  return absl::StrCat(
      "{name: '", name, "', segments: [", absl::StrJoin(parts, ", "),
      "], seed: ", seed, ", admission: {", admission.kind,
      ", min_count: ", admission.min_count,
      ", probability: ", admission.probability,
      ", sketch_bytes: ", admission.sketch_bytes,
      ", window_seconds: ", admission.window_seconds,
      ", reads_zeros: ", admission.reads_zeros,
      "}, eviction: {ttl_seconds: ", eviction.ttl_seconds,
      ", max_future_seconds: ", eviction.max_future_seconds,
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
