// restore_gate.h
//
// Keeps lookups and updates out of tables that are being restored. A use costs
// two atomic operations per call of an op, none per id.

#ifndef MONOLITH_TF_OPS_CC_TABLE_RESTORE_GATE_H_
#define MONOLITH_TF_OPS_CC_TABLE_RESTORE_GATE_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace monolith_tf {

// Thread-safe. All atomics are sequentially consistent: either a use sees that
// the gate is closed, or Close() sees the use.
class RestoreGate {
 public:
  RestoreGate() = default;
  RestoreGate(const RestoreGate&) = delete;
  RestoreGate& operator=(const RestoreGate&) = delete;

  // Begins a use, which Leave() ends. False while the gate is closed.
  bool Enter() {
    num_uses_.fetch_add(1);
    if (!is_closed_.load()) return true;
    Leave();
    return false;
  }

  void Leave() {
    if (num_uses_.fetch_sub(1) != 1 || !is_closed_.load()) return;
    // Under the lock, so that Close() does not miss it before it waits.
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.notify_all();
  }

  // Refuses new uses and waits for the end of those that have begun.
  void Close() {
    is_closed_.store(true);
    std::unique_lock<std::mutex> lock(mutex_);
    idle_.wait(lock, [this] { return num_uses_.load() == 0; });
  }

  void Open() { is_closed_.store(false); }

  bool is_closed() const { return is_closed_.load(); }

 private:
  std::atomic<int64_t> num_uses_{0};
  std::atomic<bool> is_closed_{false};
  std::mutex mutex_;
  std::condition_variable idle_;
};

// A use of the tables behind a gate, for as long as it lives.
class GatedUse {
 public:
  explicit GatedUse(RestoreGate* gate)
      : gate_(gate), is_allowed_(gate->Enter()) {}
  ~GatedUse() {
    if (is_allowed_) gate_->Leave();
  }
  GatedUse(const GatedUse&) = delete;
  GatedUse& operator=(const GatedUse&) = delete;

  // False while the gate is closed: the tables must not be used.
  bool is_allowed() const { return is_allowed_; }

 private:
  RestoreGate* const gate_;
  const bool is_allowed_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_RESTORE_GATE_H_
