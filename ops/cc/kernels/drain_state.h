// Whether this process is to stop, and whether its state is saved.
//
// One per process, because a process that leaves takes every server in it
// along.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_DRAIN_STATE_H_
#define MONOLITH_TF_OPS_CC_KERNELS_DRAIN_STATE_H_

#include <atomic>
#include <cstdint>

namespace monolith_tf {

// Thread-safe.
class DrainState {
 public:
  enum State : int64_t { kServing = 0, kDraining = 1, kDrained = 2 };

  static DrainState& OfProcess() {
    static DrainState* const state = new DrainState();
    return *state;
  }

  // A chief that takes snapshots writes to a server of this process.
  void SetHasWriter() { has_writer_ = true; }

  // Raises the state to `wanted`, if it is lower, and returns it. Without a
  // writer nobody will save anything, so a process that drains is drained.
  int64_t Raise(int64_t wanted) {
    if (wanted == kDraining && !has_writer_) wanted = kDrained;
    int64_t state = state_.load();
    while (state < wanted && !state_.compare_exchange_weak(state, wanted)) {
    }
    return state < wanted ? wanted : state;
  }

 private:
  DrainState() = default;

  std::atomic<bool> has_writer_{false};
  std::atomic<int64_t> state_{kServing};
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_DRAIN_STATE_H_
