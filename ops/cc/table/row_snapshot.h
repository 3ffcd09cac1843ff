// row_snapshot.h
//
// The rows of a table at one moment, read while others change them.
//
//   Start()              takes the moment: microseconds per stripe
//   WalkStripe(s, ...)   reads the rows of stripe s, each exactly once
//   or WalkChanges(...)  reads the state of some ids, for an increment
//   the destructor       lets go of what is left
//
// Rows that change after the moment are copied before that (row_capture.h).
// Drain() reads the copies of stripes whose walk has not begun, so that they
// take a bounded amount of memory, however long the walk takes.
//
// Thread safety: stripes may be walked by several threads, each by one of them
// and once; Drain may run meanwhile.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_SNAPSHOT_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_SNAPSHOT_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/table/row_capture.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe_set.h"
#include "ops/cc/table/touched_log.h"

namespace monolith_tf {

class RowSnapshot {
 public:
  // Takes rows: their ids [n], stamps [n] (StampOf) and floats
  // [n, row_width]. The pointers live for the call. Not called concurrently for
  // one stripe. An error ends the walk.
  using RowSink = std::function<absl::Status(
      int64_t n, const int64_t* ids, const int64_t* stamps, const float* rows)>;
  // Takes ids [n] that had no row at the moment.
  using RemovedSink =
      std::function<absl::Status(int64_t n, const int64_t* ids)>;

  // The arguments outlive it. `total_bytes` counts the copies.
  RowSnapshot(const RowLayout* layout, const StripeSet* stripes,
              std::atomic<int64_t>* total_bytes);
  ~RowSnapshot();
  RowSnapshot(const RowSnapshot&) = delete;
  RowSnapshot& operator=(const RowSnapshot&) = delete;

  // Takes the moment. `mark` is the cut of later changes, larger than any
  // before; a table that tracks changes logs them from here on, and the log of
  // earlier ones goes to `touched`. The moment is one per stripe: it is one for
  // the table if no update is running.
  void Start(int64_t mark, std::vector<int64_t>* touched);

  // Reads all rows of a stripe. Aborted if the table was cleared meanwhile.
  absl::Status WalkStripe(int number, const RowSink& sink);

  // Reads the state of `ids`, distinct ids of stripe `number` and all that
  // changed since an earlier moment. Aborted as WalkStripe.
  absl::Status WalkChanges(int number, const std::vector<int64_t>& ids,
                           const RowSink& sink, const RemovedSink& removed);

  // Reads the copies of stripes whose walk has not begun: all of them, or, for
  // WalkChanges, those among `changed(stripe)`, sorted. The sink must take rows
  // of any stripe.
  absl::Status Drain(
      const std::function<const std::vector<int64_t>*(int)>& changed,
      const RowSink& sink);

  int64_t row_width() const { return layout_->row_width(); }
  // The stripe of an id.
  int StripeOf(int64_t id) const;

 private:
  // Rows that go to a sink together.
  class Batch;

  struct Part {
    std::unique_ptr<RowCapture> capture;
    // Guards the two below and keeps Drain apart from the walk.
    std::mutex mutex;
    bool is_walked = false;
    // Sorted ids that Drain read; for WalkChanges only.
    std::vector<int64_t> drained;
  };

  // Ends the capture of a stripe and returns its copies.
  absl::Status Finish(int number, CapturedRows* rows);
  // Marks a stripe as walked, from when on Drain skips it.
  void BeginWalk(int number);

  const RowLayout* const layout_;
  const StripeSet* const stripes_;
  std::atomic<int64_t>* const total_bytes_;
  std::array<Part, StripeSet::kNumStripes> parts_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_SNAPSHOT_H_
