// Kernels that keep the table sets of older chiefs from a server: one frees
// them, one hands the rows of one to the set that continues it.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/failpoints/failpoints.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/table_set_op.h"
#include "ops/cc/kernels/table_set_registry.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelContext;
using ::tensorflow::ResourceMgr;
using ::tensorflow::Tensor;
using RegistryPtr = ::tensorflow::core::RefCountPtr<TableSetRegistry>;

// The table set of a key, or null if it is gone.
TableSetPtr LookUp(ResourceMgr* manager, const TableSetRegistry::Key& key) {
  TableSetResource* found = nullptr;
  if (!manager->Lookup(key.container, key.name, &found).ok()) return nullptr;
  return TableSetPtr(found);
}

class FenceWritersOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    int64_t epoch = 0;
    int64_t writer = 0;
    const Tensor* kept = nullptr;
    OP_REQUIRES_OK(context, GetScalar(context, "epoch", &epoch));
    OP_REQUIRES_OK(context, GetScalar(context, "writer", &writer));
    OP_REQUIRES_OK(context, GetVector(context, "kept", &kept));
    RegistryPtr registry;
    OP_REQUIRES_OK(context, TableSetRegistry::Find(context, &registry));
    OP_REQUIRES_OK(context, FailAt("fence_writers.before"));
    OP_REQUIRES_OK(context, registry->Fence(epoch, writer));
    const auto names = kept->vec<tensorflow::tstring>();
    int64_t num_freed = 0;
    int64_t num_bytes = 0;
    ResourceMgr* manager = context->resource_manager();
    for (const TableSetRegistry::Key& key : registry->Keys()) {
      const bool is_kept =
          std::any_of(names.data(), names.data() + names.size(),
                      [&](const auto& name) { return name == key.name; });
      if (is_kept) continue;
      const TableSetPtr set = LookUp(manager, key);
      if (set == nullptr) continue;
      set->snapshot().Abort();
      num_bytes += set->tables().memory_bytes();
      // An op that still uses the set holds a reference.
      if (manager->Delete<TableSetResource>(key.container, key.name).ok()) {
        ++num_freed;
      }
    }
    OP_REQUIRES_OK(context, SetScalar(context, "num_freed", num_freed));
    OP_REQUIRES_OK(context, SetScalar(context, "num_bytes", num_bytes));
    OP_REQUIRES_OK(context, FailAt("fence_writers.after"));
  }
};

class AdoptTableSetOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status Run(OpKernelContext* context, TableSetResource* set) override {
    int64_t generation = 0;
    int64_t epoch = 0;
    int64_t writer = 0;
    TF_RETURN_IF_ERROR(GetScalar(context, "generation", &generation));
    TF_RETURN_IF_ERROR(GetScalar(context, "epoch", &epoch));
    TF_RETURN_IF_ERROR(GetScalar(context, "writer", &writer));
    if (generation <= 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "generation must be positive. Received: ", generation, "."));
    }
    TF_RETURN_IF_ERROR(FailAt("adopt_table_set.before"));
    TF_RETURN_IF_ERROR(set->registry().Fence(epoch, writer));
    bool is_adopted = false;
    TF_RETURN_IF_ERROR(Adopt(context, set, generation, &is_adopted));
    TF_RETURN_IF_ERROR(FailAt("adopt_table_set.after"));
    return SetScalar(context, "adopted", is_adopted);
  }

 private:
  static absl::Status Adopt(OpKernelContext* context, TableSetResource* set,
                            int64_t generation, bool* is_adopted) {
    *is_adopted = set->tables().generation() == generation;
    if (*is_adopted) return absl::OkStatus();
    const tensorflow::ResourceHandle* handle = nullptr;
    TF_RETURN_IF_ERROR(GetHandle(context, &handle));
    ResourceMgr* manager = context->resource_manager();
    for (const TableSetRegistry::Key& key : set->registry().Keys()) {
      const TableSetPtr old = LookUp(manager, key);
      if (old == nullptr || old->tables().generation() != generation) continue;
      if (old->shard() != set->shard() ||
          old->num_shards() != set->num_shards() ||
          !old->tables().HasTablesOf(set->tables())) {
        return absl::OkStatus();
      }
      // First the name of the older chief, so that none of its requests begins
      // from here on; then those that have begun.
      TF_RETURN_IF_ERROR(
          manager->Delete<TableSetResource>(key.container, key.name));
      TF_RETURN_IF_ERROR(old->tables().WaitForUses());
      old->snapshot().Abort();
      TF_RETURN_IF_ERROR(manager->Delete<TableSetResource>(handle->container(),
                                                           handle->name()));
      old->Ref();  // Of the manager, which takes it.
      TF_RETURN_IF_ERROR(
          manager->Create(handle->container(), handle->name(), old.get()));
      set->registry().Enter(old.get(), {handle->container(), handle->name()});
      *is_adopted = true;
      return absl::OkStatus();
    }
    return absl::OkStatus();
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithFenceWriters").Device(DEVICE_CPU),
                        FenceWritersOp);
REGISTER_KERNEL_BUILDER(Name("MonolithAdoptTableSet").Device(DEVICE_CPU),
                        AdoptTableSetOp);

}  // namespace
}  // namespace monolith_tf
