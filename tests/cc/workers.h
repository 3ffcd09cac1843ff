// Threads that work together.

#ifndef MONOLITH_TF_TESTS_CC_WORKERS_H_
#define MONOLITH_TF_TESTS_CC_WORKERS_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <random>
#include <thread>
#include <vector>

namespace monolith_tf {

// A thread that does a share of work, or goes on while others do theirs and
// once more when all of them are done.
struct Worker {
  std::function<void(std::mt19937_64*)> work;
  bool goes_on;
};

// Nobody begins before all are there.
inline void RunTogether(const std::vector<Worker>& workers) {
  std::atomic<size_t> num_there{0};
  std::atomic<int> num_busy{0};
  for (const Worker& worker : workers) num_busy += !worker.goes_on;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < workers.size(); ++i) {
    threads.emplace_back([&, &worker = workers[i], i] {
      std::mt19937_64 random(i);
      ++num_there;
      while (num_there < workers.size()) std::this_thread::yield();
      bool are_others_busy;
      do {
        are_others_busy = num_busy > 0;
        worker.work(&random);
      } while (worker.goes_on && are_others_busy);
      num_busy -= !worker.goes_on;
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_TESTS_CC_WORKERS_H_
