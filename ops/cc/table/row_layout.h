// row_layout.h
//
// What a row is made of, and what is done to one: how the record of a row
// lies in memory, how it starts, is read, written and stepped.
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
// Outside of it a row is floats:
//
//   values [dim]        what a lookup gives: weights of all segments, as the
//                       model reads them (precision.h, Forward)
//   floats [row_width]  what a checkpoint keeps: decoded weights of all
//                       segments, then the slots of all segments
//
// Immutable but for SetPretrained; the caller locks the rows.

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
  // One update of a batch, computed once for all of its rows.
  struct Step {
    int64_t global_step;
    // Whether a precision makes gradients larger in this step.
    bool is_steep = false;
    // One a segment.
    std::vector<Optimizer::Step> segments;
    // Room for the weights and the gradient of one row, of layouts that are
    // not plain.
    std::vector<float> weights;
    std::vector<float> gradient;
  };

  // `config` is valid.
  explicit RowLayout(const TableConfig& config);

  int num_segments() const { return static_cast<int>(segments_.size()); }
  int64_t dim() const { return dim_; }
  int64_t row_width() const { return row_width_; }
  bool tracks_changes() const { return tracks_changes_; }
  // Whether rows know the update that changed them last: with a cap.
  bool numbers_updates() const { return numbers_updates_; }
  // Its number; 0 of a row that was restored. Only with numbers_updates().
  int64_t UpdateOf(const Row* row) const {
    return *reinterpret_cast<const int64_t*>(At(row, update_offset()));
  }
  void SetUpdate(Row* row, int64_t update) const {
    *reinterpret_cast<int64_t*>(At(row, update_offset())) = update;
  }
  size_t record_bytes() const { return record_bytes_; }
  // The first bytes of a record, which a lookup reads.
  size_t read_bytes() const { return slots_offset_; }

  // From now on ids of `rows`, whose dim is that of `segment`, start from
  // these. Safe beside everything else; what was set before is kept, because
  // somebody may be reading it.
  void SetPretrained(int segment, std::unique_ptr<const PretrainedRows> rows);
  // Of all rows that were ever set.
  int64_t pretrained_bytes() const;

  // The values of an id without a row.
  void ReadInitial(int64_t id, int64_t step, float* values) const;
  // Writes weights and slots of a new row, by its id.
  void Initialize(Row* row) const;
  // Writes these weights [dim], and the slots of a new row that has them.
  void Initialize(Row* row, const float* weights) const;

  void Read(const Row* row, int64_t step, float* values) const {
    if (is_plain_) {
      CopyFloats(plain(row), dim_, values);
    } else {
      ReadEncoded(row, step, values);
    }
  }
  // Whether Stream may write rows from `values` on.
  bool CanStream(const float* values) const {
    return is_plain_ && CanStreamFloats(values, dim_);
  }
  // Read past the caches; see StreamFloats.
  void Stream(const Row* row, float* values) const {
    StreamFloats(plain(row), dim_, values);
  }
  void ReadAll(const Row* row, float* floats) const;
  // What Read would return of a row of which ReadAll returned `floats`.
  void ValuesOf(const float* floats, int64_t step, float* values) const;
  // Weights that their precision can't hold are rounded by the row's id.
  void WriteWeights(Row* row, const float* weights) const;
  void WriteAll(Row* row, const float* floats) const;
  // The square of the norm of the decoded weights; `scratch` is [dim].
  float SquaredNorm(const Row* row, float* scratch) const;

  // `learning_rates` has one a segment, `global_step` is >= 1. The gradients of
  // the step are those of the values at the step before, which the model read
  // (ForwardStep).
  Step Prepare(const float* learning_rates, int64_t global_step) const;
  // Whether a gradient [dim] for which FiniteAndBounded (optimizer.h) holds is
  // within that bound also when precisions have made it larger, whatever the
  // weights are.
  bool StaysBounded(const Step& step, const float* gradient) const;
  // Steps rows [n] with gradients [n] of values, each [dim]; n <= 64. In order,
  // so a row may come more than once.
  void Apply(Step* step, int n, Row* const* rows,
             const float* const* gradients) const;

 private:
  // Which step the model was at when it read what a step has the gradients of:
  // the clock of lookups is the number of the latest update. (A worker that is
  // late has read an older value, and an older row.)
  static int64_t ForwardStep(const Step& step) { return step.global_step - 1; }

  struct Segment {
    int64_t dim = 0;
    int64_t slot_floats = 0;
    // Of its first weight in `values`, of its first slot behind the weights
    // there, both in floats.
    int64_t values_offset = 0;
    int64_t floats_offset = 0;
    // Of its weights and of its slots in the record, in bytes.
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

  // Behind the rest of the header.
  size_t update_offset() const { return header_bytes_ - sizeof(int64_t); }

  // Writes the slots of a new row by the weights that it has.
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
  // Whether record and floats are the same bytes behind the header.
  bool is_plain_ = true;
  std::vector<Segment> segments_;
  // One a segment; null where there are none.
  std::vector<std::atomic<const PretrainedRows*>> pretrained_;
  mutable std::mutex pretrained_mutex_;
  std::vector<std::unique_ptr<const PretrainedRows>> owned_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_LAYOUT_H_
