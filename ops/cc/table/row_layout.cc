#include "ops/cc/table/row_layout.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/initializer/pretrained_rows.h"
#include "ops/cc/memory/copy_floats.h"

namespace monolith_tf {
namespace {

// Rows of one call of Apply.
constexpr int kMaxRows = 64;

size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// Room for one segment of a row.
using Weights = absl::InlinedVector<float, 256>;
using Stored = absl::InlinedVector<char, 512>;

// The key of the stochastic rounding of a segment in one step: element j of
// the row takes the same bits whatever the segments are. Step 0 is an
// assignment.
uint64_t RoundingKey(uint64_t table_key, int64_t id, int64_t step,
                     int64_t first_element) {
  constexpr uint64_t kSalt = 0x6A09E667F3BCC909ULL;
  return Mix64(IdKey(table_key ^ kSalt, id) + static_cast<uint64_t>(step)) +
         static_cast<uint64_t>(first_element) * 0x9E3779B97F4A7C15ULL;
}

}  // namespace

RowLayout::RowLayout(const TableConfig& config)
    : table_key_(TableKey(config.seed, config.name)),
      tracks_changes_(config.tracks_changes),
      numbers_updates_(config.eviction.has_cap()),
      header_bytes_((tracks_changes_ ? sizeof(Row) : sizeof(int64_t)) +
                    (numbers_updates_ ? sizeof(int64_t) : 0)) {
  size_t offset = header_bytes_;
  for (const SegmentConfig& from : config.segments) {
    Segment segment;
    segment.dim = from.dim;
    segment.initializer = std::move(MakeInitializer(from.initializer)).value();
    segment.optimizer = std::move(MakeOptimizer(from.optimizer)).value();
    segment.precision = std::move(MakePrecision(from.precision)).value();
    segment.slot_floats = segment.optimizer->slot_floats(from.dim);
    // Floats are read where they lie; halves start evenly.
    offset = RoundUp(offset, segment.precision->is_float32() ? 4 : 2);
    segment.weights_offset = offset;
    offset += segment.precision->bytes(from.dim);
    segment.values_offset = dim_;
    dim_ += from.dim;
    is_plain_ = is_plain_ && segment.precision->is_float32();
    segments_.push_back(std::move(segment));
  }
  offset = RoundUp(offset, sizeof(float));
  slots_offset_ = offset;
  row_width_ = dim_;
  for (Segment& segment : segments_) {
    segment.slots_offset = offset;
    segment.floats_offset = row_width_;
    offset += segment.slot_floats * sizeof(float);
    row_width_ += segment.slot_floats;
  }
  record_bytes_ = offset;
  pretrained_ =
      std::vector<std::atomic<const PretrainedRows*>>(segments_.size());
}

void RowLayout::SetPretrained(int segment,
                              std::unique_ptr<const PretrainedRows> rows) {
  pretrained_[segment].store(rows.get(), std::memory_order_release);
  std::lock_guard<std::mutex> lock(pretrained_mutex_);
  owned_.push_back(std::move(rows));
}

int64_t RowLayout::pretrained_bytes() const {
  std::lock_guard<std::mutex> lock(pretrained_mutex_);
  int64_t bytes = 0;
  for (const auto& rows : owned_) bytes += rows->bytes();
  return bytes;
}

void RowLayout::FillInitial(const Segment& segment, int64_t id, uint64_t id_key,
                            float* weights) const {
  const PretrainedRows* const pretrained =
      pretrained_[&segment - segments_.data()].load(std::memory_order_acquire);
  const float* const row =
      pretrained == nullptr ? nullptr : pretrained->Find(id);
  if (row != nullptr) {
    CopyFloats(row, segment.dim, weights);
  } else {
    segment.initializer->Fill(id_key, segment.values_offset, segment.dim,
                              weights);
  }
}

void RowLayout::ReadInitial(int64_t id, int64_t step, float* values) const {
  const uint64_t id_key = IdKey(table_key_, id);
  for (const Segment& segment : segments_) {
    float* const part = values + segment.values_offset;
    FillInitial(segment, id, id_key, part);
    if (segment.precision->is_float32()) continue;
    // As they will be once they are stored.
    Stored stored(segment.precision->bytes(segment.dim));
    segment.precision->Encode(part, segment.dim,
                              InitialRoundingKey(id_key, segment.values_offset),
                              stored.data());
    segment.precision->Decode(stored.data(), segment.dim, part);
    if (segment.precision->has_forward()) {
      segment.precision->Forward(part, segment.dim, step, part);
    }
  }
}

void RowLayout::Initialize(Row* row) const {
  const uint64_t id_key = IdKey(table_key_, row->id);
  for (const Segment& segment : segments_) {
    if (segment.precision->is_float32()) {
      FillInitial(segment, row->id, id_key, WeightsOf(row, segment));
      continue;
    }
    Weights weights(segment.dim);
    FillInitial(segment, row->id, id_key, weights.data());
    segment.precision->Encode(weights.data(), segment.dim,
                              InitialRoundingKey(id_key, segment.values_offset),
                              At(row, segment.weights_offset));
  }
  InitializeSlots(row);
}

void RowLayout::Initialize(Row* row, const float* weights) const {
  WriteWeights(row, weights);
  InitializeSlots(row);
}

void RowLayout::InitializeSlots(Row* row) const {
  for (const Segment& segment : segments_) {
    if (segment.precision->is_float32()) {
      segment.optimizer->InitializeSlots(segment.dim, WeightsOf(row, segment),
                                         SlotsOf(row, segment));
      continue;
    }
    Weights weights(segment.dim);
    segment.precision->Decode(At(row, segment.weights_offset), segment.dim,
                              weights.data());
    segment.optimizer->InitializeSlots(segment.dim, weights.data(),
                                       SlotsOf(row, segment));
  }
}

void RowLayout::ReadEncoded(const Row* row, int64_t step, float* values) const {
  for (const Segment& segment : segments_) {
    float* const part = values + segment.values_offset;
    segment.precision->Decode(At(row, segment.weights_offset), segment.dim,
                              part);
    if (segment.precision->has_forward()) {
      segment.precision->Forward(part, segment.dim, step, part);
    }
  }
}

void RowLayout::ReadAll(const Row* row, float* floats) const {
  if (is_plain_) {
    CopyFloats(plain(row), row_width_, floats);
    return;
  }
  for (const Segment& segment : segments_) {
    segment.precision->Decode(At(row, segment.weights_offset), segment.dim,
                              floats + segment.values_offset);
    CopyFloats(reinterpret_cast<const float*>(At(row, segment.slots_offset)),
               segment.slot_floats, floats + segment.floats_offset);
  }
}

void RowLayout::ValuesOf(const float* floats, int64_t step,
                         float* values) const {
  CopyFloats(floats, dim_, values);
  for (const Segment& segment : segments_) {
    if (!segment.precision->has_forward()) continue;
    float* const part = values + segment.values_offset;
    segment.precision->Forward(part, segment.dim, step, part);
  }
}

void RowLayout::WriteWeights(Row* row, const float* weights) const {
  for (const Segment& segment : segments_) {
    segment.precision->Encode(
        weights + segment.values_offset, segment.dim,
        RoundingKey(table_key_, row->id, /*step=*/0, segment.values_offset),
        At(row, segment.weights_offset));
  }
}

void RowLayout::WriteAll(Row* row, const float* floats) const {
  if (is_plain_) {
    CopyFloats(floats, row_width_,
               reinterpret_cast<float*>(At(row, header_bytes_)));
    return;
  }
  WriteWeights(row, floats);
  for (const Segment& segment : segments_) {
    CopyFloats(floats + segment.floats_offset, segment.slot_floats,
               SlotsOf(row, segment));
  }
}

float RowLayout::SquaredNorm(const Row* row, float* scratch) const {
  float norm = 0;
  for (const Segment& segment : segments_) {
    segment.precision->Decode(At(row, segment.weights_offset), segment.dim,
                              scratch);
    for (int64_t j = 0; j < segment.dim; ++j) norm += scratch[j] * scratch[j];
  }
  return norm;
}

RowLayout::Step RowLayout::Prepare(const float* learning_rates,
                                   int64_t global_step) const {
  Step step;
  step.global_step = global_step;
  int64_t longest = 0;
  for (size_t s = 0; s < segments_.size(); ++s) {
    step.segments.push_back(
        segments_[s].optimizer->Prepare(learning_rates[s], global_step));
    longest = std::max(longest, segments_[s].dim);
    if (segments_[s].precision->Steepness(ForwardStep(step)) > 1) {
      step.is_steep = true;
    }
  }
  if (!is_plain_) {
    step.weights.resize(longest);
    step.gradient.resize(longest);
  }
  return step;
}

bool RowLayout::StaysBounded(const Step& step, const float* gradient) const {
  if (!step.is_steep) return true;
  for (const Segment& segment : segments_) {
    const double steepness = segment.precision->Steepness(ForwardStep(step));
    if (!(steepness > 1)) continue;
    const float* const part = gradient + segment.values_offset;
    for (int64_t j = 0; j < segment.dim; ++j) {
      if (!(std::abs(part[j]) * steepness <= kMaxGradient)) return false;
    }
  }
  return true;
}

void RowLayout::Apply(Step* step, int n, Row* const* rows,
                      const float* const* gradients) const {
  for (size_t s = 0; s < segments_.size(); ++s) {
    const Segment& segment = segments_[s];
    const Optimizer::Step& segment_step = step->segments[s];
    if (!segment.precision->is_float32()) {
      for (int k = 0; k < n; ++k) {
        ApplyEncoded(segment, segment_step, step, rows[k],
                     gradients[k] + segment.values_offset);
      }
      continue;
    }
    float* weights[kMaxRows];
    float* slots[kMaxRows];
    const float* parts[kMaxRows];
    for (int k = 0; k < n; ++k) {
      weights[k] = WeightsOf(rows[k], segment);
      slots[k] = SlotsOf(rows[k], segment);
      parts[k] = gradients[k] + segment.values_offset;
    }
    segment.optimizer->Apply(segment_step, segment.dim, n, weights, slots,
                             parts);
  }
}

void RowLayout::ApplyEncoded(const Segment& segment,
                             const Optimizer::Step& segment_step, Step* step,
                             Row* row, const float* gradient) const {
  char* const stored = At(row, segment.weights_offset);
  float* weights = step->weights.data();
  segment.precision->Decode(stored, segment.dim, weights);
  if (segment.precision->has_forward()) {
    std::copy_n(gradient, segment.dim, step->gradient.data());
    segment.precision->Backward(weights, segment.dim, ForwardStep(*step),
                                step->gradient.data());
    gradient = step->gradient.data();
  }
  float* slots = SlotsOf(row, segment);
  segment.optimizer->Apply(segment_step, segment.dim, 1, &weights, &slots,
                           &gradient);
  segment.precision->Encode(weights, segment.dim,
                            RoundingKey(table_key_, row->id, step->global_step,
                                        segment.values_offset),
                            stored);
}

}  // namespace monolith_tf
