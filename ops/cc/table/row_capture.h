// row_capture.h
//
// What one stripe looked like at the moment of a snapshot, where it changed
// since: copies of the rows that were changed or removed after it. The rest of
// the stripe is still as it was, so the snapshot is written while updates
// continue (copy on write, per row).
//
// A table that tracks changes needs no set of ids for this: a row whose cut is
// `mark` or later was changed, or inserted, after the moment. Other tables
// remember the ids.
//
// Not thread-safe: the stripe's lock guards it.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_CAPTURE_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_CAPTURE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ops/cc/table/row.h"

namespace monolith_tf {

// Copies of records, in the order in which the rows changed.
class CapturedRows {
 public:
  explicit CapturedRows(size_t record_bytes) : record_bytes_(record_bytes) {}

  size_t record_bytes() const { return record_bytes_; }
  int64_t size() const { return size_; }
  int64_t bytes() const {
    return static_cast<int64_t>(blocks_.size() * kBlockRows * record_bytes_);
  }
  const Row* at(int64_t position) const {
    return reinterpret_cast<const Row*>(
        blocks_[position / kBlockRows].get() +
        static_cast<size_t>(position % kBlockRows) * record_bytes_);
  }
  void Append(const Row* row);

 private:
  // An append copies one record; its longest pause is a block's allocation.
  static constexpr int64_t kBlockRows = 64;

  size_t record_bytes_;
  int64_t size_ = 0;
  std::vector<std::unique_ptr<char[]>> blocks_;
};

class RowCapture {
 public:
  // `mark` is the first cut after the moment, 0 for a table without cuts.
  // `total_bytes` counts the copies of several stripes and outlives this.
  RowCapture(size_t record_bytes, uint32_t mark,
             std::atomic<int64_t>* total_bytes)
      : mark_(mark), total_bytes_(total_bytes), rows_(record_bytes) {}
  ~RowCapture() { total_bytes_->fetch_sub(rows_.bytes()); }
  RowCapture(const RowCapture&) = delete;
  RowCapture& operator=(const RowCapture&) = delete;

  // Whether `row` has not changed since the moment.
  bool IsUnchanged(const Row* row) const {
    return mark_ != 0 ? row->cut < mark_ : changed_.count(row->id) == 0;
  }
  // Call it before a row changes or is removed, and before its cut moves.
  void BeforeChange(const Row* row) {
    if (!IsUnchanged(row)) return;
    Keep(row);
  }
  // Call it after a row was inserted, with its cut.
  void AfterInsert(const Row* row) {
    if (mark_ == 0) changed_.insert(row->id);
  }
  // Call it when the stripe is emptied: the moment can't be read any more.
  void Break() { is_broken_ = true; }

  bool is_broken() const { return is_broken_; }
  // Hands over the copies so far; later ones go to a new list.
  CapturedRows Take();

 private:
  void Keep(const Row* row);

  const uint32_t mark_;
  std::atomic<int64_t>* const total_bytes_;
  bool is_broken_ = false;
  CapturedRows rows_;
  // Ids that were changed or inserted, if mark_ is 0.
  std::unordered_set<int64_t> changed_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_CAPTURE_H_
