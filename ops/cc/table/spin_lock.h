// spin_lock.h
//
// A one-byte lock for critical sections of a microsecond. It spins, then
// yields the processor, so that a holder that lost its time slice gets it
// back. Plain atomics: the thread sanitizer understands it, also where the
// rest of the process is not instrumented.

#ifndef MONOLITH_TF_OPS_CC_TABLE_SPIN_LOCK_H_
#define MONOLITH_TF_OPS_CC_TABLE_SPIN_LOCK_H_

#include <sched.h>

#include <atomic>

#include "absl/base/thread_annotations.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace monolith_tf {

class ABSL_LOCKABLE SpinLock {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    while (held_.exchange(true, std::memory_order_acquire)) WaitUntilFree();
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    held_.store(false, std::memory_order_release);
  }

 private:
  void WaitUntilFree() const {
    // About the length of one critical section.
    constexpr int kNumSpins = 200;
    for (int spin = 0; held_.load(std::memory_order_relaxed); ++spin) {
      if (spin < kNumSpins) {
#if defined(__SSE2__)
        _mm_pause();
#endif
      } else {
        sched_yield();
      }
    }
  }

  std::atomic<bool> held_{false};
};

class ABSL_SCOPED_LOCKABLE SpinLockHolder {
 public:
  explicit SpinLockHolder(SpinLock* lock) ABSL_EXCLUSIVE_LOCK_FUNCTION(lock)
      : lock_(lock) {
    lock_->Lock();
  }
  ~SpinLockHolder() ABSL_UNLOCK_FUNCTION() { lock_->Unlock(); }
  SpinLockHolder(const SpinLockHolder&) = delete;
  SpinLockHolder& operator=(const SpinLockHolder&) = delete;

 private:
  SpinLock* const lock_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_SPIN_LOCK_H_
