// unit_queue.h: units of work that threads take one after the other.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_UNIT_QUEUE_H_
#define MONOLITH_TF_OPS_CC_KERNELS_UNIT_QUEUE_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "tensorflow/core/platform/threadpool.h"

namespace monolith_tf {

// The caller works too. It waits for units that other threads have begun, but
// never for a thread to wake up: if the pool is busy, it does all units itself.
class UnitQueue {
 public:
  // Calls work(unit) once for each unit in [0, num_units), on the caller and up
  // to `num_threads` - 1 threads of `pool`; returns when all are done.
  static void Run(tensorflow::thread::ThreadPool* pool, int64_t num_units,
                  int64_t num_threads,
                  const std::function<void(int64_t)>& work) {
    if (num_threads <= 1 || num_units <= 1) {
      for (int64_t unit = 0; unit < num_units; ++unit) work(unit);
      return;
    }
    // Shared: a helper may start after Run has returned, and find nothing left.
    const auto queue = std::make_shared<UnitQueue>(num_units, &work);
    for (int64_t helper = 1; helper < std::min(num_threads, num_units);
         ++helper) {
      pool->Schedule([queue] { queue->TakeUnits(); });
    }
    queue->TakeUnits();
    queue->Wait();
  }

  // For Run.
  UnitQueue(int64_t num_units, const std::function<void(int64_t)>* work)
      : num_units_(num_units), work_(work) {}

 private:
  void TakeUnits() {
    for (;;) {
      const int64_t unit = next_.fetch_add(1, std::memory_order_relaxed);
      if (unit >= num_units_) return;
      (*work_)(unit);
      if (num_done_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_units_) {
        std::lock_guard<std::mutex> lock(mutex_);
        all_done_.notify_all();
      }
    }
  }

  void Wait() {
    const auto is_done = [this] {
      return num_done_.load(std::memory_order_acquire) == num_units_;
    };
    if (is_done()) return;
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, is_done);
  }

  const int64_t num_units_;
  // Owned by the caller of Run; must not be called once all units are taken.
  const std::function<void(int64_t)>* const work_;
  std::atomic<int64_t> next_{0};
  std::atomic<int64_t> num_done_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_UNIT_QUEUE_H_
