// Where the time of a worker's steps goes, in numbers.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_WORKER_COUNTERS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_WORKER_COUNTERS_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace monolith_tf {

// One of a process. The ops of a step that stand where rows are asked for,
// where they have come, and where gradients leave, say when they were there.
// What happens in between:
//
//   lookup  from the first ids that are routed until the vectors are made: the
//           way to the servers and back, and the work of both sides;
//   dense   from the vectors to the gradients: the model, forward and back.
//
// An evaluation has no dense part here, as it ends unseen. Rows that an earlier
// step asked for (`mt.pipelined`) have no lookup part. Thread-safe: a lock that
// is taken three times a step.
class WorkerCounters {
 public:
  struct Totals {
    int64_t lookups = 0;
    int64_t lookup_nanoseconds = 0;
    int64_t steps = 0;  // with gradients
    int64_t dense_nanoseconds = 0;
  };

  static WorkerCounters& Get() {
    static WorkerCounters* const counters = new WorkerCounters;
    return *counters;
  }

  // `step_id` is that of the kernels' context: the same for all ops of a step,
  // and of no other step that runs.
  void RowsAskedFor(int64_t step_id) { RowsAskedFor(step_id, Now()); }
  void RowsHaveCome(int64_t step_id) { RowsHaveCome(step_id, Now()); }
  void GradientsLeave(int64_t step_id) { GradientsLeave(step_id, Now()); }

  // The same at a given time, in nanoseconds from any moment, above 0.
  void RowsAskedFor(int64_t step_id, int64_t now) {
    std::lock_guard<std::mutex> lock(mutex_);
    Step& step = Of(step_id);
    if (step.id != step_id) step = Step{step_id};
    if (step.num_asked++ == 0) step.asked = now;
  }

  void RowsHaveCome(int64_t step_id, int64_t now) {
    std::lock_guard<std::mutex> lock(mutex_);
    Step& step = Of(step_id);
    if (step.id != step_id) step = Step{step_id};
    step.came = now;
    if (step.num_asked == 0) return;  // An earlier step asked.
    ++totals_.lookups;
    if (--step.num_asked == 0) totals_.lookup_nanoseconds += now - step.asked;
  }

  void GradientsLeave(int64_t step_id, int64_t now) {
    std::lock_guard<std::mutex> lock(mutex_);
    Step& step = Of(step_id);
    if (step.id != step_id || step.came == 0) return;  // Not of rows read here.
    ++totals_.steps;
    totals_.dense_nanoseconds += now - step.came;
    step.came = 0;  // Other table sets leave at about the same time.
  }

  Totals totals() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return totals_;
  }

 private:
  struct Step {
    int64_t id = 0;
    int64_t num_asked = 0;  // lookups on their way
    int64_t asked = 0;      // when the first of them was sent
    int64_t came = 0;       // when the last came; 0 for none that counts
  };
  // More steps than a worker runs at once. One whose place is taken by another
  // is not counted any more.
  static constexpr size_t kMaxSteps = 256;

  static int64_t Now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  Step& Of(int64_t step_id) {
    return steps_[static_cast<uint64_t>(step_id) % kMaxSteps];
  }

  mutable std::mutex mutex_;
  std::array<Step, kMaxSteps> steps_;
  Totals totals_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_WORKER_COUNTERS_H_
