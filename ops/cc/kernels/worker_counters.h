// The time of a worker's steps, split into lookups and the dense model.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_WORKER_COUNTERS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_WORKER_COUNTERS_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace monolith_tf {

// One instance per process. Three ops of a step record when they run: the one
// that asks for rows, the one that combines them, the one that sends gradients.
// The time between them:
//
//   lookup  from the first ids that are routed until the vectors are made: the
//           way to the servers and back, and the work of both sides;
//   dense   from the vectors to the gradients: the model, forward and back.
//
// An evaluation has no dense part, because no op sees its end. Rows that an
// earlier step asked for (`mt.pipelined`) have no lookup part. Thread-safe, by
// a lock that a step takes three times.
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

  // `step_id` is that of the kernels' context, the same for all ops of a step
  // and unique among the steps that run.
  void RowsAskedFor(int64_t step_id) { RowsAskedFor(step_id, Now()); }
  void RowsHaveCome(int64_t step_id) { RowsHaveCome(step_id, Now()); }
  void GradientsLeave(int64_t step_id) { GradientsLeave(step_id, Now()); }

  // The same at a given time, in nanoseconds, above 0.
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
    if (step.num_asked == 0) return;  // An earlier step asked for the rows.
    ++totals_.lookups;
    if (--step.num_asked == 0) totals_.lookup_nanoseconds += now - step.asked;
  }

  void GradientsLeave(int64_t step_id, int64_t now) {
    std::lock_guard<std::mutex> lock(mutex_);
    Step& step = Of(step_id);
    if (step.id != step_id || step.came == 0) return;  // It read no rows.
    ++totals_.steps;
    totals_.dense_nanoseconds += now - step.came;
    step.came = 0;  // Counts once for all table sets.
  }

  Totals totals() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return totals_;
  }

 private:
  struct Step {
    int64_t id = 0;
    int64_t num_asked = 0;  // lookups in flight
    int64_t asked = 0;      // time when the first of them was sent
    int64_t came = 0;       // time when the last came; 0 for none
  };
  // More steps than a worker runs at once. A step whose place another takes is
  // not counted any more.
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
