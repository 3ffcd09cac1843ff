#include "ops/cc/memory/memory_budget.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

#include "ops/cc/memory/available_memory.h"

namespace monolith_tf {
namespace {

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

MemoryBudget::MemoryBudget(std::function<int64_t()> available)
    : available_(available != nullptr ? std::move(available)
                                      : [] { return AvailableMemory(); }) {}

bool MemoryBudget::Allows(int64_t bytes) {
  const int64_t refused_at = refused_at_.load(std::memory_order_relaxed);
  if (refused_at != 0 && Now() - refused_at < kRefusalNanoseconds) return false;
  const int64_t available = available_();
  if (available < 0 || available >= bytes + kReservedBytes) return true;
  refused_at_.store(Now(), std::memory_order_relaxed);
  return false;
}

MemoryBudget& MemoryBudget::OfProcess() {
  static MemoryBudget* const budget = new MemoryBudget;
  return *budget;
}

}  // namespace monolith_tf
