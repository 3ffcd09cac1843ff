// Kernels that create, read and change one table: check the inputs, call the
// core, copy out. Those of a training step are in step_kernels.cc.
//
// The resource lives in the server's default container until the server stops
// or the container is reset.

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/failpoints/failpoints.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/initializer/pretrained_rows.h"
#include "ops/cc/kernels/config_attributes.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/one_table_op.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/table/table.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class TableCreateOp : public OpKernel {
 public:
  explicit TableCreateOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadTableConfig(context, &config_));
    OP_REQUIRES_OK(context, context->GetAttr("shard", &shard_));
    OP_REQUIRES_OK(context, context->GetAttr("num_shards", &num_shards_));
    OP_REQUIRES_OK(context, context->GetAttr("generation", &generation_));
    OP_REQUIRES(context,
                num_shards_ >= 1 && num_shards_ <= kNumPartitions &&
                    shard_ >= 0 && shard_ < num_shards_,
                absl::InvalidArgumentError(absl::StrCat(
                    "Table '", config_.name, "': shard must be in [0, ",
                    "num_shards) and num_shards in [1, ", kNumPartitions,
                    "]. Received: shard ", shard_, " of ", num_shards_, ".")));
  }

  void Compute(OpKernelContext* context) override {
    const tensorflow::ResourceHandle* handle = nullptr;
    OP_REQUIRES_OK(context, GetHandle(context, &handle));
    // Before the set: the resource manager is locked while that is created.
    tensorflow::core::RefCountPtr<TableSetRegistry> registry;
    OP_REQUIRES_OK(context, TableSetRegistry::Find(context, &registry));
    TableSetPtr set;
    OP_REQUIRES_OK(context,
                   tensorflow::LookupOrCreateResource<TableSetResource>(
                       context, *handle, &set, [&](TableSetResource** made) {
                         *made = new TableSetResource(
                             *handle, shard_, num_shards_,
                             GenerationOf(generation_), std::move(registry));
                         return absl::OkStatus();
                       }));
    OP_REQUIRES(
        context, set->shard() == shard_ && set->num_shards() == num_shards_,
        absl::InvalidArgumentError(absl::StrCat(
            "Table set '", handle->name(), "' on server ",
            context->device()->name(), " is shard ", set->shard(), " of ",
            set->num_shards(), ". Received: table '", config_.name,
            "' for shard ", shard_, " of ", num_shards_, ".")));
    OP_REQUIRES_OK(context, set->tables().CreateTable(config_));
  }

 private:
  TableConfig config_;
  int64_t shard_;
  int64_t num_shards_;
  int64_t generation_;
};

// A table or a set that is gone is no error: a finalizer that runs after the
// table set was destroyed must log none.
class TableDropOp : public OpKernel {
 public:
  explicit TableDropOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &name_));
  }

  void Compute(OpKernelContext* context) override {
    const tensorflow::ResourceHandle* handle = nullptr;
    OP_REQUIRES_OK(context, GetHandle(context, &handle));
    TableSetPtr set;
    const absl::Status found =
        tensorflow::LookupResource(context, *handle, &set);
    if (absl::IsNotFound(found)) return;
    OP_REQUIRES_OK(context, found);
    const absl::Status dropped = set->tables().DropTable(name_);
    if (!absl::IsNotFound(dropped)) OP_REQUIRES_OK(context, dropped);
  }

 private:
  std::string name_;
};

class LookupWithExistsOp : public OneTableOp {
 public:
  explicit LookupWithExistsOp(OpKernelConstruction* context)
      : OneTableOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
  }

 protected:
  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    TF_RETURN_IF_ERROR(CheckTableDim(context, name(), *table, dim_));
    const Tensor* ids = nullptr;
    TF_RETURN_IF_ERROR(GetIds(context, &ids));
    const int64_t n = ids->dim_size(0);
    Tensor* rows = nullptr;
    Tensor* exists = nullptr;
    TF_RETURN_IF_ERROR(
        context->allocate_output("rows", TensorShape({n, dim_}), &rows));
    TF_RETURN_IF_ERROR(
        context->allocate_output("exists", TensorShape({n}), &exists));
    table->Lookup(ids->flat<int64_t>().data(), n, rows->flat<float>().data(),
                  exists->flat<bool>().data());
    return absl::OkStatus();
  }

 private:
  int64_t dim_;
};

class AssignOp : public OneTableOp {
 public:
  explicit AssignOp(OpKernelConstruction* context) : OneTableOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("in_restore", &in_restore_));
  }

 protected:
  bool RunsInRestore() const override { return in_restore_; }

  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    const Tensor* ids = nullptr;
    const Tensor* rows = nullptr;
    int64_t event_time = 0;
    TF_RETURN_IF_ERROR(GetIdsAndRows(context, table->dim(), &ids, &rows));
    TF_RETURN_IF_ERROR(Named(GetScalar(context, "event_time", &event_time)));
    event_time = table->AcceptTime(event_time);
    const RunningUpdate update = table->BeginUpdate();
    const absl::Status status =
        InParts(context, ids->dim_size(0), [&](StripePart part) {
          return table->AssignPart(ids->flat<int64_t>().data(),
                                   rows->flat<float>().data(), ids->dim_size(0),
                                   event_time, update, part);
        });
    table->EndUpdate(update);
    return status;
  }

 private:
  bool in_restore_;
};

class RemoveOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    const Tensor* ids = nullptr;
    TF_RETURN_IF_ERROR(GetIds(context, &ids));
    return SetScalar(
        context, "num_removed",
        table->Remove(ids->flat<int64_t>().data(), ids->dim_size(0)));
  }
};

class ClearOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status RunOnTable(OpKernelContext*, TableSetResource*,
                          Table* table) override {
    TF_RETURN_IF_ERROR(Named(FailAt("clear.before")));
    table->Clear();
    return Named(FailAt("clear.after"));
  }
};

class SetPretrainedOp : public OneTableOp {
 public:
  explicit SetPretrainedOp(OpKernelConstruction* context)
      : OneTableOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("segment", &segment_));
    OP_REQUIRES(context, segment_ >= 0 && segment_ < kMaxDim,
                Named(absl::InvalidArgumentError(
                    absl::StrCat("segment must be from 0 to ", kMaxDim - 1,
                                 ". Received: ", segment_, "."))));
  }

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    const Tensor* ids = nullptr;
    const Tensor* rows = nullptr;
    TF_RETURN_IF_ERROR(GetIdsAndRows(context, kAnyWidth, &ids, &rows));
    auto pretrained = PretrainedRows::Create(
        ids->flat<int64_t>().data(), rows->flat<float>().data(),
        ids->dim_size(0), rows->dim_size(1));
    TF_RETURN_IF_ERROR(Named(pretrained.status()));
    return table->SetPretrained(static_cast<int>(segment_),
                                *std::move(pretrained));
  }

 private:
  int64_t segment_;
};

class SweepOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    int64_t time = 0;
    TF_RETURN_IF_ERROR(Named(GetScalar(context, "event_time", &time)));
    // A time in milliseconds, say, would expire every row.
    if (time < 0 || time > UINT32_MAX) {
      return Named(absl::InvalidArgumentError(
          absl::StrCat("event_time must be seconds since the epoch, in [0, ",
                       UINT32_MAX, "]. Received: ", time, ".")));
    }
    return SetScalar(context, "num_evicted", table->Sweep(time));
  }
};

class SizeOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    return SetScalar(context, "size", table->size());
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithTableSetHandle").Device(DEVICE_CPU),
                        tensorflow::ResourceHandleOp<TableSetResource>);
REGISTER_KERNEL_BUILDER(Name("MonolithTableCreate").Device(DEVICE_CPU),
                        TableCreateOp);
REGISTER_KERNEL_BUILDER(Name("MonolithTableDrop").Device(DEVICE_CPU),
                        TableDropOp);
REGISTER_KERNEL_BUILDER(Name("MonolithLookupWithExists").Device(DEVICE_CPU),
                        LookupWithExistsOp);
REGISTER_KERNEL_BUILDER(Name("MonolithAssign").Device(DEVICE_CPU), AssignOp);
REGISTER_KERNEL_BUILDER(Name("MonolithRemove").Device(DEVICE_CPU), RemoveOp);
REGISTER_KERNEL_BUILDER(Name("MonolithClear").Device(DEVICE_CPU), ClearOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSize").Device(DEVICE_CPU), SizeOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSetPretrained").Device(DEVICE_CPU),
                        SetPretrainedOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSweep").Device(DEVICE_CPU), SweepOp);

}  // namespace
}  // namespace monolith_tf
