// memory_budget.h
//
// Whether this process may take more memory: touched pages are not refused by
// the system, which kills the process that has too many. So memory for rows and
// index ends, with an error, before the limit of the control group (or the
// memory of the machine) does.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_MEMORY_BUDGET_H_
#define MONOLITH_TF_OPS_CC_MEMORY_MEMORY_BUDGET_H_

#include <atomic>
#include <cstdint>
#include <functional>

namespace monolith_tf {

// Thread-safe.
class MemoryBudget {
 public:
  // Bytes that are left for what is not rows: requests in flight, growth of
  // other tables, TensorFlow.
  static constexpr int64_t kReservedBytes = int64_t{64} << 20;
  // How long a refusal holds: reading the limits takes 0.1 ms, and a full table
  // asks for every new id.
  static constexpr int64_t kRefusalNanoseconds = 100 * 1000 * 1000;

  // `available` returns bytes, or -1 if they are not known; the default is
  // AvailableMemory (available_memory.h).
  explicit MemoryBudget(std::function<int64_t()> available = nullptr);

  // Whether the system has `bytes` more. Makes system calls: ask for large
  // pieces only. Counts no bytes: memory counts when it is touched.
  bool Allows(int64_t bytes);

  // The budget of this process.
  static MemoryBudget& OfProcess();

 private:
  const std::function<int64_t()> available_;
  // Of the last refusal, on the steady clock.
  std::atomic<int64_t> refused_at_{0};
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_MEMORY_BUDGET_H_
