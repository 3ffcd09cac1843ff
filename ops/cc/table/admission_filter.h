// admission_filter.h
//
// Decides which ids get a row, by the AdmissionConfig of a table, and keeps
// what it has to remember of the others: exact counters, which lie in the
// stripes and share their index, or a count-min sketch (count_sketch.h).
//
// What it remembers can be exported by checkpoint group and imported on any
// number of shards. docs/formats.md specifies the numbers.
//
// Thread safety: every method may be called from any number of threads. Admits
// and Sweep need the lock of their stripe; the others must be called with no
// lock of a stripe held.
//
// Cost. Admits: O(1), and nothing where each id is admitted at once. Export:
// O(counters of the table), or O(sketch bytes of the groups). Memory: 16 bytes
// and an index entry per counted id, or the bytes of the sketch.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ADMISSION_FILTER_H_
#define MONOLITH_TF_OPS_CC_TABLE_ADMISSION_FILTER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "ops/cc/admission/count_sketch.h"
#include "ops/cc/admission/occurrence_window.h"
#include "ops/cc/admission/packed_count.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"

namespace monolith_tf {

class AdmissionFilter {
 public:
  // What one step asks with: the number of the update, and what IntervalOf
  // returned of the table's time.
  struct Moment {
    int64_t global_step = 0;
    uint32_t interval = 0;
  };

  // `config` and `stripes` outlive it. `table_key` is TableKey (hash.h).
  AdmissionFilter(const AdmissionConfig& config, uint64_t table_key,
                  const StripeSet* stripes);
  AdmissionFilter(const AdmissionFilter&) = delete;
  AdmissionFilter& operator=(const AdmissionFilter&) = delete;

  // Whether an id without a row gets one now. Counts its occurrences first:
  // `packed_count` has them and the overrides of the id (packed_count.h). When
  // memory ends, ids are admitted rather than lost.
  bool Admits(Stripe* stripe, uint64_t hash, int64_t id, int64_t packed_count,
              const Moment& moment) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe->lock()) {
    return (kind_ == Kind::kAll && !HasProbability(packed_count)) ||
           AdmitsByRule(stripe, hash, id, packed_count, moment);
  }

  // The interval of the window that an event time in seconds is in.
  uint32_t IntervalOf(uint32_t time) const { return window_.IntervalOf(time); }

  // The largest min_count that an id may bring as an override.
  int64_t max_min_count() const;

  // Whether counters expire, so that somebody has to sweep them.
  bool has_expiring_counters() const {
    return kind_ == Kind::kCount && window_.is_limited();
  }
  // Removes the counters among the next `num_handles` of a stripe that count
  // nothing at `time` any more. Does nothing without expiring counters.
  void Sweep(Stripe* stripe, uint32_t time, int64_t num_handles) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe->lock()) {
    if (has_expiring_counters()) {
      stripe->SweepCounters(IntervalOf(time), num_handles);
    }
  }

  // What is remembered of the ids of checkpoint groups [first_group,
  // last_group): one vector per group, empty where it is nothing. Both are
  // clamped to the groups that there are.
  std::vector<std::vector<int64_t>> Export(int first_group,
                                           int last_group) const;
  // Merges the saved numbers of a group with what is there: the larger count
  // of each id stays. Exact counters are taken of the ids for which
  // is_owned(id) holds. InvalidArgument, and no change, when the numbers are
  // not of this kind of admission or group; ResourceExhausted when memory ends.
  absl::Status Import(int group, const std::vector<int64_t>& saved,
                      const std::function<bool(int64_t)>& is_owned);

  // Forgets the counts of the sketch. Counters go with their stripes.
  void ClearSketch();
  int64_t sketch_bytes() const;

 private:
  enum class Kind { kAll, kCount, kSketch, kProbability };

  static Kind KindOf(const AdmissionConfig& config);
  bool AdmitsByRule(Stripe* stripe, uint64_t hash, int64_t id,
                    int64_t packed_count, const Moment& moment) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe->lock());
  // Whether one of `occurrences` in a step is drawn, each with `probability`.
  bool IsDrawn(int64_t id, int64_t occurrences, int64_t global_step,
               double probability) const;

  const AdmissionConfig& config_;
  const Kind kind_;
  const OccurrenceWindow window_;
  const uint64_t table_key_;
  const StripeSet* const stripes_;
  // Null for other kinds.
  const std::unique_ptr<CountSketch> sketch_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ADMISSION_FILTER_H_
