// The updates that a server has applied, so that it drops a repeated one.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_REQUEST_LOG_H_
#define MONOLITH_TF_OPS_CC_KERNELS_REQUEST_LOG_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_set>
#include <vector>

namespace monolith_tf {

// The request id of an update is packed above the 32 bits of its event time:
// bit 62 marks it, bits 32 to 61 hold it. A time that is too large, such as one
// in milliseconds or nanoseconds, does not reach bit 62 and is refused as a
// time.
struct StampedTime {
  static constexpr int64_t kHasRequest = int64_t{1} << 62;

  explicit StampedTime(int64_t number)
      : event_time(number), has_request((number & kHasRequest) != 0) {
    if (number < 0) has_request = false;
    if (!has_request) return;
    event_time = number & UINT32_MAX;
    request = (number ^ kHasRequest) >> 32;
  }

  int64_t event_time = 0;
  bool has_request;
  int64_t request = 0;
};

// Remembers the last `kRemembered` requests. Thread-safe.
class RequestLog {
 public:
  // A request is repeated when its worker is given up, long before so many
  // other requests. At about 64 bytes each they take 4 MiB, if clients send
  // ids.
  static constexpr size_t kRemembered = size_t{1} << 16;

  struct Counts {
    int64_t applied = 0;   // updates, with or without a request id
    int64_t repeated = 0;  // updates dropped because their request was known
  };

  // Records an update. False if its request is known: the caller must change
  // nothing, though the first one may still run.
  bool Begin(const StampedTime& time) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (time.has_request) {
      if (!known_.insert(time.request).second) {
        ++counts_.repeated;
        return false;
      }
      if (order_.size() < kRemembered) {
        order_.push_back(time.request);
      } else {
        known_.erase(order_[oldest_]);
        order_[oldest_] = time.request;
        oldest_ = (oldest_ + 1) % kRemembered;
      }
    }
    ++counts_.applied;
    return true;
  }

  // Forgets all requests; the counts stay.
  void ForgetRequests() {
    const std::lock_guard<std::mutex> lock(mutex_);
    known_.clear();
    order_.clear();
    oldest_ = 0;
  }

  Counts counts() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return counts_;
  }

 private:
  mutable std::mutex mutex_;
  Counts counts_;
  std::unordered_set<int64_t> known_;
  std::vector<int64_t> order_;  // a ring when it is full
  size_t oldest_ = 0;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_REQUEST_LOG_H_
