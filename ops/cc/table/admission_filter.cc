#include "ops/cc/table/admission_filter.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/admission/count_sketch.h"
#include "ops/cc/admission/occurrence_window.h"
#include "ops/cc/admission/packed_count.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"

namespace monolith_tf {
namespace {

// A saved counter is two numbers: its id; its counts and interval.
int64_t PackCounts(const OccurrenceCounts& counts) {
  return static_cast<int64_t>(counts.interval) << 32 |
         static_cast<int64_t>(counts.previous) << 16 | counts.current;
}

OccurrenceCounts UnpackCounts(int64_t packed) {
  return {static_cast<uint16_t>(packed), static_cast<uint16_t>(packed >> 16),
          static_cast<uint32_t>(packed >> 32)};
}

std::unique_ptr<CountSketch> MakeSketch(const AdmissionConfig& config,
                                        uint64_t table_key) {
  if (config.kind != "sketch") return nullptr;
  return std::make_unique<CountSketch>(config.sketch_bytes, config.min_count,
                                       /*has_window=*/config.window_seconds > 0,
                                       table_key);
}

}  // namespace

AdmissionFilter::Kind AdmissionFilter::KindOf(const AdmissionConfig& config) {
  if (config.kind == "count") return Kind::kCount;
  if (config.kind == "sketch") return Kind::kSketch;
  if (config.kind == "probability") return Kind::kProbability;
  return Kind::kAll;
}

AdmissionFilter::AdmissionFilter(const AdmissionConfig& config,
                                 uint64_t table_key, const StripeSet* stripes)
    : config_(config),
      kind_(KindOf(config)),
      window_(config.window_seconds),
      table_key_(table_key),
      stripes_(stripes),
      sketch_(MakeSketch(config, table_key)) {}

int64_t AdmissionFilter::max_min_count() const {
  if (sketch_ != nullptr) return sketch_->max_count();
  return kind_ == Kind::kCount ? OccurrenceCounts::kMax : 1;
}

bool AdmissionFilter::AdmitsByRule(Stripe* stripe, uint64_t hash, int64_t id,
                                   int64_t packed_count,
                                   const Moment& moment) const {
  const int64_t occurrences = OccurrencesOf(packed_count);
  const bool has_own_probability = HasProbability(packed_count);
  const int64_t own_min_count =
      has_own_probability ? 0 : OwnMinCountOf(packed_count);
  const bool is_sampled = has_own_probability ||
                          (kind_ == Kind::kProbability && own_min_count == 0);
  const bool is_drawn =
      is_sampled && IsDrawn(id, occurrences, moment.global_step,
                            has_own_probability ? OwnProbabilityOf(packed_count)
                                                : config_.probability);
  const int64_t min_count =
      own_min_count > 0 ? own_min_count : config_.min_count;
  // Occurrences are counted however an id is admitted; one that gets its row
  // needs no counter.
  int64_t counted = occurrences;
  if (kind_ == Kind::kSketch) {
    counted = sketch_->Add(id, occurrences, moment.interval);
  } else if (kind_ == Kind::kCount && !is_drawn &&
             (is_sampled || occurrences < min_count)) {
    counted = stripe->Count(hash, id, occurrences, moment.interval);
  }
  return is_sampled ? is_drawn : counted >= min_count;
}

bool AdmissionFilter::IsDrawn(int64_t id, int64_t occurrences,
                              int64_t global_step, double probability) const {
  // 1 - (1 - p)^occurrences, with products only.
  double refused = 1;
  double power = 1.0 - probability;
  for (int64_t left = occurrences; left > 0; left >>= 1) {
    if ((left & 1) != 0) refused *= power;
    power *= power;
  }
  const uint64_t bits =
      Mix64(IdKey(~table_key_, id) + static_cast<uint64_t>(global_step));
  return static_cast<double>(bits >> 11) * 0x1p-53 < 1.0 - refused;
}

std::vector<std::vector<int64_t>> AdmissionFilter::Export(
    int first_group, int last_group) const {
  first_group = std::clamp(first_group, 0, kNumGroups);
  last_group = std::clamp(last_group, first_group, kNumGroups);
  std::vector<std::vector<int64_t>> saved(last_group - first_group);
  if (sketch_ != nullptr) {
    for (int group = first_group; group < last_group; ++group) {
      saved[group - first_group] = sketch_->Export(group);
    }
    return saved;
  }
  std::vector<std::vector<std::pair<int64_t, int64_t>>> counters(saved.size());
  for (const auto& stripe : *stripes_) {
    StripeSet::WalkRecords<Counter>(
        stripe.get(), [&]() -> const RowArena& { return stripe->counters(); },
        [&](uint32_t handle) { return *stripe->CounterAt(handle); },
        [&](const Counter& counter) {
          const int group = GroupOf(counter.id);
          if (group < first_group || group >= last_group) return;
          counters[group - first_group].emplace_back(
              counter.id, PackCounts(counter.counts));
        });
  }
  for (size_t g = 0; g < saved.size(); ++g) {
    std::sort(counters[g].begin(), counters[g].end());
    for (const auto& [id, counts] : counters[g]) {
      saved[g].push_back(id);
      saved[g].push_back(counts);
    }
  }
  return saved;
}

absl::Status AdmissionFilter::Import(
    int group, const std::vector<int64_t>& saved,
    const std::function<bool(int64_t)>& is_owned) {
  if (saved.empty()) return absl::OkStatus();
  const auto refuse = [](const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("the saved filter ", what...));
  };
  if (group < 0 || group >= kNumGroups) {
    return refuse("must be of a group in [0, ", kNumGroups,
                  "). Received: ", group);
  }
  if (sketch_ != nullptr) {
    absl::Status status = sketch_->Import(group, saved.data(),
                                          static_cast<int64_t>(saved.size()));
    return status.ok() ? status : refuse("does not fit: ", status.message());
  }
  if (kind_ != Kind::kCount || saved.size() % 2 != 0) {
    return refuse("has ", saved.size(), " numbers, which admission '",
                  config_.kind,
                  "' does not take. Restore with the admission that it was ",
                  "saved with.");
  }
  for (size_t i = 0; i < saved.size(); i += 2) {
    if (GroupOf(saved[i]) != group) {
      return refuse("of group ", group, " counts id ", saved[i], " of group ",
                    GroupOf(saved[i]), ".");
    }
  }
  for (size_t i = 0; i < saved.size(); i += 2) {
    const Counter counter = {saved[i], UnpackCounts(saved[i + 1])};
    if (!is_owned(counter.id)) continue;
    const uint64_t hash = stripes_->hash()(counter.id);
    Stripe* const stripe = stripes_->Of(hash);
    SpinLockHolder holder(stripe->lock());
    if (!stripe->RestoreCounter(hash, counter)) {
      return absl::ResourceExhaustedError("no memory for another counter.");
    }
  }
  return absl::OkStatus();
}

void AdmissionFilter::ClearSketch() {
  if (sketch_ != nullptr) sketch_->Clear();
}

int64_t AdmissionFilter::sketch_bytes() const {
  return sketch_ == nullptr ? 0 : sketch_->memory_bytes();
}

}  // namespace monolith_tf
