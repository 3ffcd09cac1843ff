// Counters of the lookups and updates of this process.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_SERVER_COUNTERS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_SERVER_COUNTERS_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace monolith_tf {

// Counters of one kind of call. Relaxed: no decision depends on them.
struct CallCounters {
  std::atomic<int64_t> calls{0};
  std::atomic<int64_t> ids{0};
  std::atomic<int64_t> bytes{0};  // in and out, without headers of the network
  std::atomic<int64_t> nanoseconds{0};
  std::atomic<int64_t> running{0};  // calls that have begun and not ended

  void Add(int64_t num_ids, int64_t num_bytes) {
    ids.fetch_add(num_ids, std::memory_order_relaxed);
    bytes.fetch_add(num_bytes, std::memory_order_relaxed);
  }
};

// One instance per process: the thread that serves the metrics of a parameter
// server has no table set.
struct ServerCounters {
  CallCounters lookup;
  CallCounters apply;

  static ServerCounters& Get() {
    static ServerCounters* const counters = new ServerCounters;
    return *counters;
  }
};

// Counts a call from its construction to its end.
class CountedCall {
 public:
  explicit CountedCall(CallCounters* counters)
      : counters_(counters), start_(std::chrono::steady_clock::now()) {
    counters_->running.fetch_add(1, std::memory_order_relaxed);
  }
  CountedCall(const CountedCall&) = delete;
  CountedCall& operator=(const CountedCall&) = delete;

  ~CountedCall() {
    const auto spent = std::chrono::steady_clock::now() - start_;
    counters_->running.fetch_sub(1, std::memory_order_relaxed);
    counters_->calls.fetch_add(1, std::memory_order_relaxed);
    counters_->nanoseconds.fetch_add(
        std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count(),
        std::memory_order_relaxed);
  }

 private:
  CallCounters* const counters_;
  const std::chrono::steady_clock::time_point start_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_SERVER_COUNTERS_H_
