// The table set as a TensorFlow resource, and how kernels find it.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_TABLE_SET_RESOURCE_H_
#define MONOLITH_TF_OPS_CC_KERNELS_TABLE_SET_RESOURCE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/kernels/snapshot_slot.h"
#include "ops/cc/kernels/table_set_registry.h"
#include "ops/cc/table/request_log.h"
#include "ops/cc/table/table_set.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/platform/random.h"

namespace monolith_tf {

class TableSetResource : public tensorflow::ResourceBase {
 public:
  TableSetResource(const tensorflow::ResourceHandle& handle, int shard,
                   int num_shards, int64_t generation,
                   tensorflow::core::RefCountPtr<TableSetRegistry> registry)
      : shard_(shard),
        num_shards_(num_shards),
        tables_(handle.name(), shard, num_shards, generation),
        registry_(std::move(registry)) {
    registry_->Enter(this, {handle.container(), handle.name()});
  }
  ~TableSetResource() override { registry_->Leave(this); }

  std::string DebugString() const override {
    return absl::StrCat("monolith_tf table set, shard ", shard_, " of ",
                        num_shards_);
  }

  int shard() const { return shard_; }
  int num_shards() const { return num_shards_; }
  TableSet& tables() { return tables_; }
  RequestLog& requests() { return requests_; }
  SnapshotSlot& snapshot() { return snapshot_; }
  TableSetRegistry& registry() { return *registry_; }

 private:
  const int shard_;
  const int num_shards_;
  TableSet tables_;
  RequestLog requests_;
  SnapshotSlot snapshot_;
  const tensorflow::core::RefCountPtr<TableSetRegistry> registry_;
};

// The generation that an op gives: its attribute, or, if that is 0, a random
// one. It is drawn when the op runs, because a graph may run again.
inline int64_t GenerationOf(int64_t attribute) {
  if (attribute != 0) return attribute;
  const int64_t drawn = tensorflow::random::New64() >> 1;
  return drawn == 0 ? 1 : drawn;
}

using TableSetPtr = tensorflow::core::RefCountPtr<TableSetResource>;

// Input `handle`. It is a scalar: an empty tensor of resources has no handle.
inline absl::Status GetHandle(tensorflow::OpKernelContext* context,
                              const tensorflow::ResourceHandle** handle) {
  const tensorflow::Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->input("handle", &tensor));
  if (tensor->dims() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("handle must be a scalar. Received: shape ",
                     tensor->shape().DebugString(), "."));
  }
  *handle = &tensor->scalar<tensorflow::ResourceHandle>()();
  return absl::OkStatus();
}

// Finds the table set of input `handle`. FailedPrecondition, with the names of
// the set and the server, where none was created or restored in this
// generation.
inline absl::Status FindTableSet(tensorflow::OpKernelContext* context,
                                 TableSetPtr* set) {
  const tensorflow::ResourceHandle* handle = nullptr;
  TF_RETURN_IF_ERROR(GetHandle(context, &handle));
  const absl::Status status = tensorflow::LookupResource(context, *handle, set);
  if (absl::IsNotFound(status)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "Table set '", handle->name(), "' does not exist on server ",
        context->device()->name(), " (wanted by op '",
        context->op_kernel().name(),
        "'): it was neither created nor restored there in this generation, as "
        "after a restart of the server. Create the model's tables again and "
        "restore the last checkpoint before training goes on."));
  }
  return status;
}

// Finds a table. FailedPrecondition, with the names of the table and the
// server, where the set does not hold it.
inline absl::Status FindTable(tensorflow::OpKernelContext* context,
                              TableSetResource* set, const std::string& name,
                              std::shared_ptr<Table>* table) {
  absl::StatusOr<std::shared_ptr<Table>> found = set->tables().Find(name);
  if (!found.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "Table '", name, "' does not exist on server ",
        context->device()->name(),
        ": it was neither created nor restored there in this generation. ",
        found.status().message()));
  }
  *table = *std::move(found);
  return absl::OkStatus();
}

// InvalidArgument where the table's dim is not the one that the op was built
// for.
inline absl::Status CheckTableDim(tensorflow::OpKernelContext* context,
                                  const std::string& name, const Table& table,
                                  int64_t dim) {
  if (table.dim() == dim) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "Table '", name, "' has dim ", table.dim(), " on server ",
      context->device()->name(), ". Received: an op built for dim ", dim,
      ". Build the model with the table's own config."));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_TABLE_SET_RESOURCE_H_
