// spin_lock.h
//
// A small lock for critical sections of about a microsecond. It spins, then
// yields the processor, so that a holder that lost its time slice gets it back.
// A new thread lets waiting threads go first; otherwise a thread that takes the
// lock repeatedly, such as a sweep, would starve them. It waits for about ten
// microseconds only, because a waiting thread may have lost its time slice.
// Uses plain atomics, which the thread sanitizer understands even if the rest
// of the process is not instrumented.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_SPIN_LOCK_H_
#define MONOLITH_TF_OPS_CC_MEMORY_SPIN_LOCK_H_

#include <sched.h>

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace monolith_tf {

class ABSL_LOCKABLE SpinLock {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    if (num_waiting_.load(std::memory_order_relaxed) > 0) LetOthersGo();
    if (held_.exchange(true, std::memory_order_acquire)) LockSlowly();
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    held_.store(false, std::memory_order_release);
  }

 private:
  // About the length of one critical section.
  static constexpr int kNumSpins = 200;
  // Turns that a new thread leaves to waiting ones.
  static constexpr int kMaxTurns = kNumSpins + 8;

  void LetOthersGo() const {
    for (int turn = 0; turn < kMaxTurns; ++turn) {
      if (num_waiting_.load(std::memory_order_relaxed) == 0) return;
      Pause(turn);
    }
  }

  void LockSlowly() {
    num_waiting_.fetch_add(1, std::memory_order_relaxed);
    do {
      for (int turn = 0; held_.load(std::memory_order_relaxed);) {
        Pause(turn);
        turn += turn < kNumSpins;
      }
    } while (held_.exchange(true, std::memory_order_acquire));
    num_waiting_.fetch_sub(1, std::memory_order_relaxed);
  }

  static void Pause(int turn) {
    if (turn >= kNumSpins) {
      sched_yield();
      return;
    }
#if defined(__SSE2__)
    _mm_pause();
#endif
  }

  std::atomic<bool> held_{false};
  std::atomic<int32_t> num_waiting_{0};
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

#endif  // MONOLITH_TF_OPS_CC_MEMORY_SPIN_LOCK_H_
