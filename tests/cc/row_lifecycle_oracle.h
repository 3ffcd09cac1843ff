// What a table must do, written down once more in the plainest way: a
// std::map of rows of floats, with direct calls of the optimizers,
// initializers and precisions of its segments.
//
// It does not know which rows a sweep has come to. So it keeps rows whose time
// ran out, and IsGone tells: of such a row the table may have either.

#ifndef MONOLITH_TF_TESTS_CC_ROW_LIFECYCLE_ORACLE_H_
#define MONOLITH_TF_TESTS_CC_ROW_LIFECYCLE_ORACLE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "ops/cc/admission/occurrence_window.h"
#include "ops/cc/admission/packed_count.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/initializer/initializer.h"
#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/precision/precision.h"
#include "ops/cc/table/row.h"

namespace monolith_tf {

class RowLifecycleOracle {
 public:
  struct OracleRow {
    // Decoded weights of all segments, then their slots.
    std::vector<float> floats;
    int64_t last_update = 0;
    int frequency = 0;
    // The number of the update that changed it last; 0: restored.
    int64_t number = 0;
  };

  explicit RowLifecycleOracle(const TableConfig& config)
      : config_(config), key_(TableKey(config.seed, config.name)) {
    for (const SegmentConfig& from : config.segments) {
      Segment segment;
      segment.dim = from.dim;
      segment.values = dim_;
      segment.optimizer = *MakeOptimizer(from.optimizer);
      segment.initializer = *MakeInitializer(from.initializer);
      segment.precision = *MakePrecision(from.precision);
      segment.num_slots = segment.optimizer->slot_floats(from.dim);
      dim_ += from.dim;
      segments_.push_back(std::move(segment));
    }
    width_ = dim_;
    for (Segment& segment : segments_) {
      segment.slots = width_;
      width_ += segment.num_slots;
    }
  }

  int64_t width() const { return width_; }
  int64_t clock() const { return clock_; }
  const std::map<int64_t, OracleRow>& rows() const { return rows_; }

  void SeeTime(int64_t time) { clock_ = std::max(clock_, time); }
  void SeeStep(int64_t step) { last_step_ = std::max(last_step_, step); }

  bool IsGone(const OracleRow& row) const {
    const int64_t ttl = config_.eviction.ttl_seconds;
    return ttl > 0 && clock_ - row.last_update > ttl;
  }

  // What a lookup gives for these floats, or for an id without a row.
  std::vector<float> ValuesOf(const OracleRow& row) const {
    std::vector<float> values(row.floats.begin(), row.floats.begin() + dim_);
    return Forward(std::move(values));
  }
  std::vector<float> ValuesWithout(int64_t id) const {
    if (config_.admission.reads_zeros) return std::vector<float>(dim_, 0.0f);
    std::vector<float> values = InitialFloats(id);
    values.resize(dim_);
    return Forward(std::move(values));
  }

  int64_t StampOf(const OracleRow& row) const {
    if (!config_.tracks_changes) return 0;
    return int64_t{row.frequency} << 32 | row.last_update;
  }

  // Around the ids of an update, an assignment or an import.
  void BeginUpdate() { ++number_; }
  // Removes rows above a small cap: the lowest, but those that this update
  // changed behind all others.
  void EndUpdate() {
    if (config_.eviction.max_rows == 0) return;
    while (static_cast<int64_t>(rows_.size()) > config_.eviction.max_rows) {
      int64_t lowest = rows_.begin()->first;
      for (const auto& [id, row] : rows_) {
        if (RankOf(row) < RankOf(rows_.at(lowest))) lowest = id;
      }
      rows_.erase(lowest);
    }
  }

  // One id of an update, after SeeTime.
  void Step(int64_t id, int64_t count, const float* gradient,
            const std::vector<float>& rates, int64_t global_step,
            int64_t time) {
    for (int64_t j = 0; j < dim_; ++j) {
      if (!(std::abs(gradient[j]) <= 281474976710656.0f)) return;
    }
    OracleRow* row = Find(id);
    if (row == nullptr) {
      if (!Admits(id, count, global_step)) return;
      row = Insert(id);
      row->floats = InitialFloats(id);
    }
    const int64_t ttl = OwnTtlOf(count);
    const int64_t earlier = ttl > 0 ? config_.eviction.ttl_seconds - ttl : 0;
    row->last_update = std::max(row->last_update, time - earlier);
    row->number = number_;
    if (config_.eviction.has_cap() && config_.eviction.policy == "lfu") {
      const uint64_t bits =
          Mix64(IdKey(key_, id) + static_cast<uint64_t>(global_step) +
                (static_cast<uint64_t>(time) << 32));
      row->frequency =
          RaisedFrequency(row->frequency, OccurrencesOf(count), bits);
    }
    for (size_t s = 0; s < segments_.size(); ++s) {
      const Segment& segment = segments_[s];
      float* weights = row->floats.data() + segment.values;
      float* slots = row->floats.data() + segment.slots;
      std::vector<float> part(gradient + segment.values,
                              gradient + segment.values + segment.dim);
      // Of what was read after the updates before this one.
      segment.precision->Backward(weights, segment.dim, global_step - 1,
                                  part.data());
      const float* const passed = part.data();
      segment.optimizer->Apply(
          segment.optimizer->Prepare(rates[s], global_step), segment.dim, 1,
          &weights, &slots, &passed);
      Round(segment, RoundingKey(id, global_step), weights);
    }
  }

  void Assign(int64_t id, const float* weights, int64_t time) {
    OracleRow* row = Find(id);
    const bool is_new = row == nullptr;
    if (is_new) row = Insert(id);
    row->floats.resize(width_);
    std::copy_n(weights, dim_, row->floats.data());
    for (const Segment& segment : segments_) {
      float* const part = row->floats.data() + segment.values;
      Round(segment, RoundingKey(id, 0), part);
      if (!is_new) continue;
      segment.optimizer->InitializeSlots(segment.dim, part,
                                         row->floats.data() + segment.slots);
    }
    row->last_update = std::max(row->last_update, time);
    row->number = number_;
  }

  void Import(int64_t id, const std::vector<float>& floats, int64_t stamp) {
    OracleRow* row = Find(id);
    if (row == nullptr) row = Insert(id);
    row->floats = floats;
    for (const Segment& segment : segments_) {
      Round(segment, RoundingKey(id, 0), row->floats.data() + segment.values);
    }
    const int64_t time = stamp & 0xFFFFFFFF;
    row->last_update = time == 0 ? clock_ : time;
    row->frequency = static_cast<int>(stamp >> 32);
    row->number = 0;
  }

  bool Remove(int64_t id) { return rows_.erase(id) == 1; }

  void Sweep() {
    for (auto row = rows_.begin(); row != rows_.end();) {
      row = IsGone(row->second) ? rows_.erase(row) : std::next(row);
    }
  }

  void Clear() {
    rows_.clear();
    counts_.clear();
  }

  std::vector<float> InitialFloats(int64_t id) const {
    std::vector<float> floats(width_);
    const uint64_t id_key = IdKey(key_, id);
    for (const Segment& segment : segments_) {
      float* const weights = floats.data() + segment.values;
      segment.initializer->Fill(id_key, segment.values, segment.dim, weights);
      RoundAt(segment, InitialRoundingKey(id_key, segment.values), weights);
      segment.optimizer->InitializeSlots(segment.dim, weights,
                                         floats.data() + segment.slots);
    }
    return floats;
  }

 private:
  struct Segment {
    int64_t dim = 0;
    int64_t num_slots = 0;
    // Where its weights and slots begin in a row of floats.
    int64_t values = 0;
    int64_t slots = 0;
    std::unique_ptr<const Optimizer> optimizer;
    std::unique_ptr<const Initializer> initializer;
    std::unique_ptr<const Precision> precision;
  };

  // The row of an id, if it has one and its time did not run out.
  OracleRow* Find(int64_t id) {
    const auto found = rows_.find(id);
    if (found == rows_.end()) return nullptr;
    if (!IsGone(found->second)) return &found->second;
    rows_.erase(found);
    return nullptr;
  }

  OracleRow* Insert(int64_t id) {
    // A sketch remembers an id that has a row.
    if (config_.admission.kind == "count") counts_.erase(id);
    return &rows_[id];
  }

  bool Admits(int64_t id, int64_t count, int64_t global_step) {
    const AdmissionConfig& admission = config_.admission;
    const int64_t occurrences = OccurrencesOf(count);
    if (admission.kind == "all" && !HasProbability(count)) return true;
    const int64_t own = HasProbability(count) ? 0 : OwnMinCountOf(count);
    const bool is_by_lot =
        HasProbability(count) || (admission.kind == "probability" && own == 0);
    const OccurrenceWindow window(admission.window_seconds);
    const int64_t counted =
        counts_[id].Add(occurrences, window.IntervalOf(clock_));
    if (!is_by_lot) return counted >= (own > 0 ? own : admission.min_count);
    double refused = 1;
    for (int64_t i = 0; i < occurrences; ++i) {
      refused *= 1.0 - (HasProbability(count) ? OwnProbabilityOf(count)
                                              : double{admission.probability});
    }
    const uint64_t bits =
        Mix64(IdKey(~key_, id) + static_cast<uint64_t>(global_step));
    return static_cast<double>(bits >> 11) * 0x1p-53 < 1.0 - refused;
  }

  std::vector<float> Forward(std::vector<float> values) const {
    for (const Segment& segment : segments_) {
      float* const part = values.data() + segment.values;
      segment.precision->Forward(part, segment.dim, last_step_, part);
    }
    return values;
  }

  uint64_t RoundingKey(int64_t id, int64_t step) const {
    return Mix64(IdKey(key_ ^ 0x6A09E667F3BCC909ULL, id) +
                 static_cast<uint64_t>(step));
  }
  // Element j of the row takes the bits of number j.
  static void Round(const Segment& segment, uint64_t row_key, float* weights) {
    RoundAt(
        segment,
        row_key + static_cast<uint64_t>(segment.values) * 0x9E3779B97F4A7C15ULL,
        weights);
  }
  static void RoundAt(const Segment& segment, uint64_t key, float* weights) {
    std::vector<uint16_t> stored(segment.precision->bytes(segment.dim) / 2 + 1);
    char* const bytes = reinterpret_cast<char*>(stored.data());
    segment.precision->Encode(weights, segment.dim, key, bytes);
    segment.precision->Decode(bytes, segment.dim, weights);
  }

  // Where it stands for the cap, the lowest first; of equal ones the smaller
  // id is lower.
  using Rank = std::tuple<bool, double, int64_t, int64_t>;
  Rank RankOf(const OracleRow& row) const {
    const bool is_spared = row.number == number_;
    if (config_.eviction.policy == "lru") {
      return {is_spared, row.last_update, 0, row.number};
    }
    if (config_.eviction.policy == "lfu") {
      return {is_spared, row.frequency, row.last_update, row.number};
    }
    float norm = 0;
    for (int64_t j = 0; j < dim_; ++j) norm += row.floats[j] * row.floats[j];
    return {is_spared, norm, 0, row.number};
  }

  const TableConfig config_;
  const uint64_t key_;
  int64_t dim_ = 0;
  int64_t width_ = 0;
  std::vector<Segment> segments_;
  int64_t clock_ = 0;
  int64_t last_step_ = 0;
  int64_t number_ = 0;
  std::map<int64_t, OracleRow> rows_;
  std::map<int64_t, OccurrenceCounts> counts_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_TESTS_CC_ROW_LIFECYCLE_ORACLE_H_
