// The one snapshot of a server that was begun and not written yet.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_SNAPSHOT_SLOT_H_
#define MONOLITH_TF_OPS_CC_KERNELS_SNAPSHOT_SLOT_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ops/cc/table/table_set_snapshot.h"

namespace monolith_tf {

// Thread-safe.
class SnapshotSlot {
 public:
  struct Running {
    std::shared_ptr<TableSetSnapshot> snapshot;
    // Set by Abort.
    std::shared_ptr<std::atomic<bool>> is_cancelled;
  };

  // Drops one that was begun and not written, as of a chief that is gone.
  void Forget() {
    const std::lock_guard<std::mutex> lock(mutex_);
    begun_ = nullptr;
  }
  void Put(std::shared_ptr<TableSetSnapshot> snapshot) {
    const std::lock_guard<std::mutex> lock(mutex_);
    begun_ = std::move(snapshot);
  }
  // Takes it, to write it. FailedPrecondition if there is none.
  absl::StatusOr<Running> Take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (begun_ == nullptr) {
      return absl::FailedPreconditionError(
          "No snapshot was begun on this server, or it was aborted or written "
          "already. Begin one first.");
    }
    is_cancelled_ = std::make_shared<std::atomic<bool>>(false);
    return Running{std::exchange(begun_, nullptr), is_cancelled_};
  }
  // Drops what was begun and stops what is being written.
  void Abort() {
    const std::lock_guard<std::mutex> lock(mutex_);
    begun_ = nullptr;
    if (is_cancelled_ != nullptr) *is_cancelled_ = true;
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<TableSetSnapshot> begun_;
  std::shared_ptr<std::atomic<bool>> is_cancelled_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_SNAPSHOT_SLOT_H_
