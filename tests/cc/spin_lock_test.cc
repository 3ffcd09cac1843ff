#include "ops/cc/memory/spin_lock.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace monolith_tf {
namespace {

TEST(SpinLockTest, OneThreadAtATimeHoldsIt) {
  SpinLock lock;
  int64_t counter = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        SpinLockHolder holder(&lock);
        ++counter;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 80000);
}

TEST(SpinLockTest, AThreadThatTakesItAgainAndAgainLetsOthersGo) {
  constexpr int kTimes = 200;
  SpinLock lock;
  std::atomic<bool> is_done{false};
  // Holds of the busy thread so far.
  std::atomic<int64_t> num_holds{0};
  std::atomic<int64_t> sink{0};
  std::thread busy([&] {
    while (!is_done.load()) {
      SpinLockHolder holder(&lock);
      num_holds.fetch_add(1);
      // Some microseconds, so that it is nearly always held.
      for (int i = 0; i < 2000; ++i) sink.fetch_add(1);
    }
  });
  while (num_holds.load() == 0) std::this_thread::yield();
  std::vector<int64_t> waits;
  for (int i = 0; i < kTimes; ++i) {
    // The busy thread has it again.
    const int64_t seen = num_holds.load();
    while (num_holds.load() == seen) {
    }
    const int64_t before = num_holds.load();
    SpinLockHolder holder(&lock);
    waits.push_back(num_holds.load() - before);
  }
  is_done.store(true);
  busy.join();
  // A thread may lose its time slice at any of the times, not at most of them.
  std::nth_element(waits.begin(), waits.begin() + kTimes / 2, waits.end());
  EXPECT_LE(waits[kTimes / 2], 20);
}

}  // namespace
}  // namespace monolith_tf
