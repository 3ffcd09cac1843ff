// row_layout.h
//
// The memory layout of a row's record, and all operations on one row: how it is
// initialized, read, written and stepped.
//
// A record
//
//   +---------------+-----------------------------------+-----+-----------+
//   | header        | weights of segment 0, 1 ...       | pad | slots of  |
//   | (row.h)       | each encoded in its precision     | to 4| 0, 1 ...  |
//   +---------------+-----------------------------------+-----+-----------+
//
//   header            tracks changes   does not
//   without a cap     16 bytes          8 bytes
//   with a cap        24 bytes         16 bytes, the last 8 the update number
//
// Outside of the record, a row is floats:
//
//   values [dim]        in a lookup: weights of all segments, as the model
//   reads
//                       them (precision.h, Forward)
//   floats [row_width]  in a checkpoint: decoded weights of all segments, then
//                       the slots of all segments
//
// Thread safety: immutable except for SetPretrained, which may run concurrently
// with everything else. The caller locks the rows.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_LAYOUT_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_LAYOUT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "ops/cc/config/table_config.h"
#include "ops/cc/initializer/initializer.h"
#include "ops/cc/initializer/pretrained_rows.h"
#include "ops/cc/memory/copy_floats.h"
#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/precision/precision.h"
#include "ops/cc/table/row.h"

namespace monolith_tf {

class RowLayout {
 public:
  // Numbers of one update, computed once for all of its rows.
  struct Step {
    int64_t global_step;
    // Whether a precision makes gradients larger in this step.
    bool is_steep = false;
    // One per segment.
    std::vector<Optimizer::Step> segments;
    // Scratch space for the weights and the gradient of one row, if the layout
    // is not plain.
    std::vector<float> weights;
    std::vector<float> gradient;
  };

  // `config` is valid.
  explicit RowLayout(const TableConfig& config);

  int num_segments() const { return static_cast<int>(segments_.size()); }
  int64_t dim() const { return dim_; }
  int64_t row_width() const { return row_width_; }
  bool tracks_changes() const { return tracks_changes_; }
  // Whether rows store the update that changed them last: with a cap.
  bool numbers_updates() const { return numbers_updates_; }
  // The number of that update; 0 for a restored row. Requires
  // numbers_updates().
  int64_t UpdateOf(const Row* row) const {
    return *reinterpret_cast<const int64_t*>(At(row, update_offset()));
  }
  void SetUpdate(Row* row, int64_t update) const {
    *reinterpret_cast<int64_t*>(At(row, update_offset())) = update;
  }
  size_t record_bytes() const { return record_bytes_; }
  // The number of bytes, from the start of a record, that a lookup reads.
  size_t read_bytes() const { return slots_offset_; }

  // From now on, ids of `rows`, which have the dim of `segment`, start from
  // these. Thread-safe; keeps earlier rows, because a thread may be reading
  // them.
  void SetPretrained(int segment, std::unique_ptr<const PretrainedRows> rows);
  // Bytes of all rows that were ever set.
  int64_t pretrained_bytes() const;

  // Computes the values of an id without a row.
  void ReadInitial(int64_t id, int64_t step, float* values) const;
  // Writes the initial weights and slots of a new row, by its id.
  void Initialize(Row* row) const;
  // Writes these weights [dim] and their initial slots.
  void Initialize(Row* row, const float* weights) const;

  void Read(const Row* row, int64_t step, float* values) const {
    if (is_plain_) {
      CopyFloats(plain(row), dim_, values);
    } else {
      ReadEncoded(row, step, values);
    }
  }
  // Whether Stream can write rows to `values`.
  bool CanStream(const float* values) const {
    return is_plain_ && CanStreamFloats(values, dim_);
  }
  // Read past the caches; see StreamFloats.
  void Stream(const Row* row, float* values) const {
    StreamFloats(plain(row), dim_, values);
  }
  void ReadAll(const Row* row, float* floats) const;
  // Converts the floats of ReadAll to the values of Read.
  void ValuesOf(const float* floats, int64_t step, float* values) const;
  // Rounds weights that their precision does not hold, by the row's id.
  void WriteWeights(Row* row, const float* weights) const;
  void WriteAll(Row* row, const float* floats) const;
  // The square of the norm of the decoded weights; `scratch` is [dim].
  float SquaredNorm(const Row* row, float* scratch) const;

  // `learning_rates` has one per segment; `global_step` >= 1. The gradients of
  // the step are for the values at the step before, which the model read
  // (ForwardStep).
  Step Prepare(const float* learning_rates, int64_t global_step) const;
  // Whether a gradient [dim] for which FiniteAndBounded (optimizer.h) holds
  // stays within that bound after precisions scaled it up, for any weights.
  bool StaysBounded(const Step& step, const float* gradient) const;
  // Steps rows [n] with gradients [n] of values, each [dim]; n <= 64. In order,
  // so a row may be repeated.
  void Apply(Step* step, int n, Row* const* rows,
             const float* const* gradients) const;

 private:
  // The step at which the model read the values of a step's gradients: the
  // clock of lookups is the number of the latest update. (A late worker has
  // read an older value, and an older row.)
  static int64_t ForwardStep(const Step& step) { return step.global_step - 1; }

  struct Segment {
    int64_t dim = 0;
    int64_t slot_floats = 0;
    // Offsets, in floats, of its first weight in `values` and of its first slot
    // in `floats`.
    int64_t values_offset = 0;
    int64_t floats_offset = 0;
    // Offsets, in bytes, of its weights and slots in the record.
    size_t weights_offset = 0;
    size_t slots_offset = 0;
    std::unique_ptr<const Initializer> initializer;
    std::unique_ptr<const Optimizer> optimizer;
    std::unique_ptr<const Precision> precision;
  };

  static char* At(Row* row, size_t offset) {
    return reinterpret_cast<char*>(row) + offset;
  }
  static const char* At(const Row* row, size_t offset) {
    return reinterpret_cast<const char*>(row) + offset;
  }
  static float* SlotsOf(Row* row, const Segment& segment) {
    return reinterpret_cast<float*>(At(row, segment.slots_offset));
  }
  const float* plain(const Row* row) const {
    return reinterpret_cast<const float*>(At(row, header_bytes_));
  }

  static float* WeightsOf(Row* row, const Segment& segment) {
    return reinterpret_cast<float*>(At(row, segment.weights_offset));
  }

  // At the end of the header.
  size_t update_offset() const { return header_bytes_ - sizeof(int64_t); }

  // Writes the initial slots of a row with weights.
  void InitializeSlots(Row* row) const;
  // The initial weights of a segment, not rounded yet.
  void FillInitial(const Segment& segment, int64_t id, uint64_t id_key,
                   float* weights) const;
  void ReadEncoded(const Row* row, int64_t step, float* values) const;
  void ApplyEncoded(const Segment& segment, const Optimizer::Step& segment_step,
                    Step* step, Row* row, const float* gradient) const;

  const uint64_t table_key_;
  int64_t dim_ = 0;
  int64_t row_width_ = 0;
  const bool tracks_changes_;
  const bool numbers_updates_;
  const size_t header_bytes_;
  size_t slots_offset_ = 0;
  size_t record_bytes_ = 0;
  // Whether the record after the header is the row's floats.
  bool is_plain_ = true;
  std::vector<Segment> segments_;
  // One per segment; null where there are none.
  std::vector<std::atomic<const PretrainedRows*>> pretrained_;
  mutable std::mutex pretrained_mutex_;
  std::vector<std::unique_ptr<const PretrainedRows>> owned_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_LAYOUT_H_
