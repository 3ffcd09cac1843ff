// Which updates a server has taken, so that one that comes again is dropped.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_REQUEST_LOG_H_
#define MONOLITH_TF_OPS_CC_KERNELS_REQUEST_LOG_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_set>
#include <vector>

namespace monolith_tf {

// The request id of an update travels above the event time, which takes 32
// bits: bit 62 says that there is one, bits 32 to 61 are it. A time that is too
// large, such as one in milliseconds or nanoseconds, does not reach bit 62 and
// is still refused as a time.
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

// Remembers the last `kRemembered` requests. Safe to call from many threads.
class RequestLog {
 public:
  // A repeat comes when its worker is given up, long before so many others. At
  // about 64 bytes each it is 4 MiB, of servers whose clients give ids.
  static constexpr size_t kRemembered = size_t{1} << 16;

  struct Counts {
    int64_t applied = 0;   // updates, with or without a request id
    int64_t repeated = 0;  // updates dropped because their request was known
  };

  // Notes an update. False if its request is known: then nothing is to be
  // changed, though the first one may be at work still.
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

  // Takes any request from here on; the counts stay.
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
