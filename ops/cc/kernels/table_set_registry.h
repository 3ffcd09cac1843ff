// The table sets of one server, and the chief that may write to it.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_TABLE_SET_REGISTRY_H_
#define MONOLITH_TF_OPS_CC_KERNELS_TABLE_SET_REGISTRY_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/kernels/drain_state.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"

namespace monolith_tf {

// One resource per server. Table sets enter when they are created and leave in
// their destructor, so it never names one that is gone for longer than a
// lookup takes. Thread-safe.
class TableSetRegistry : public tensorflow::ResourceBase {
 public:
  struct Key {
    std::string container;
    std::string name;
  };

  // The registry of the op's server, which it creates at first.
  static absl::Status Find(
      tensorflow::OpKernelContext* context,
      tensorflow::core::RefCountPtr<TableSetRegistry>* registry) {
    tensorflow::ResourceMgr* manager = context->resource_manager();
    TableSetRegistry* found = nullptr;
    TF_RETURN_IF_ERROR(manager->LookupOrCreate<TableSetRegistry>(
        manager->default_container(), "monolith_tf_table_sets", &found,
        [](TableSetRegistry** made) {
          *made = new TableSetRegistry();
          return absl::OkStatus();
        }));
    registry->reset(found);
    return absl::OkStatus();
  }

  std::string DebugString() const override {
    return "monolith_tf registry of table sets";
  }

  // `set` identifies a table set; it is not used.
  void Enter(const void* set, Key key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    keys_[set] = std::move(key);
  }
  void Leave(const void* set) {
    const std::lock_guard<std::mutex> lock(mutex_);
    keys_.erase(set);
  }

  std::vector<Key> Keys() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Key> keys;
    for (const auto& [set, key] : keys_) keys.push_back(key);
    return keys;
  }

  // Makes `writer` the chief of this server. Aborted if another one is, whose
  // epoch is not lower.
  absl::Status Fence(int64_t epoch, int64_t writer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (writer != writer_ && epoch <= epoch_) {
      return absl::AbortedError(absl::StrCat(
          "This chief is fenced: a chief of epoch ", epoch_,
          " writes to the server. Expected a higher epoch. Received: ", epoch,
          ". Stop this process, or restart it, which takes a new epoch."));
    }
    epoch_ = std::max(epoch, epoch_);
    writer_ = writer;
    DrainState::OfProcess().SetHasWriter();
    return absl::OkStatus();
  }

 private:
  mutable std::mutex mutex_;
  std::map<const void*, Key> keys_;
  int64_t epoch_ = 0;
  int64_t writer_ = 0;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_TABLE_SET_REGISTRY_H_
