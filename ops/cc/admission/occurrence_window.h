// occurrence_window.h
//
// Counts of recent occurrences. Time is cut into intervals of half a window;
// the current interval and the one before count. So an occurrence counts for at
// least half a window, and for at most a window. Without a window, there is one
// interval, and everything counts.

#ifndef MONOLITH_TF_OPS_CC_ADMISSION_OCCURRENCE_WINDOW_H_
#define MONOLITH_TF_OPS_CC_ADMISSION_OCCURRENCE_WINDOW_H_

#include <algorithm>
#include <cstdint>

namespace monolith_tf {

class OccurrenceWindow {
 public:
  explicit OccurrenceWindow(int64_t window_seconds)
      : interval_seconds_(window_seconds == 0 ? 0
                                              : static_cast<uint32_t>(
                                                    (window_seconds + 1) / 2)) {
  }

  bool is_limited() const { return interval_seconds_ != 0; }
  // The interval of an event time in seconds.
  uint32_t IntervalOf(uint32_t time) const {
    return interval_seconds_ == 0 ? 0 : time / interval_seconds_;
  }

 private:
  const uint32_t interval_seconds_;
};

// The counts of one id. A late event counts in the current interval.
struct OccurrenceCounts {
  static constexpr int64_t kMax = 65535;

  // Adds `count` >= 0 occurrences in `new_interval` and returns the new
  // count. Each interval's count saturates at kMax.
  int64_t Add(int64_t count, uint32_t new_interval) {
    if (new_interval > interval) {
      previous = new_interval - interval == 1 ? current : 0;
      current = 0;
      interval = new_interval;
    }
    current = static_cast<uint16_t>(
        std::min<int64_t>(kMax, current + std::min(count, kMax)));
    return int64_t{current} + previous;
  }

  uint16_t current;
  uint16_t previous;
  uint32_t interval;
};
static_assert(sizeof(OccurrenceCounts) == 8, "half of a counter record");

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_ADMISSION_OCCURRENCE_WINDOW_H_
