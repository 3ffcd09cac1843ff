// Kernels that make, read and change one table: check the inputs, call the
// core, copy out. Those of a training step are in step_kernels.cc.
//
// The resource lives in the server's default container until the server stops
// or the container is reset. A kernel holds a reference to the set and a shared
// pointer to each table while it runs, so dropping a table waits for nobody.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/initializer/pretrained_rows.h"
#include "ops/cc/kernels/config_attributes.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/table/config_validation.h"
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

// A row of ids needs ids `[n]` and rows `[n, width]`.
absl::Status CheckRows(const std::string& table, const Tensor& ids,
                       const Tensor& rows, int64_t width) {
  if (ids.dims() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("Table '", table, "': `ids` must be a vector, got shape ",
                     ids.shape().DebugString(), "."));
  }
  if (rows.dims() != 2 || rows.dim_size(0) != ids.dim_size(0) ||
      rows.dim_size(1) != width) {
    return absl::InvalidArgumentError(
        absl::StrCat("Table '", table, "': `rows` must be [", ids.dim_size(0),
                     ", ", width, "] for `ids` ", ids.shape().DebugString(),
                     ", got ", rows.shape().DebugString(), "."));
  }
  return absl::OkStatus();
}

absl::Status CheckScalar(const char* name, const Tensor& tensor) {
  if (tensor.dims() == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("`", name, "` must be a scalar, got shape ",
                   tensor.shape().DebugString(), "."));
}

class TableCreateOp : public OpKernel {
 public:
  explicit TableCreateOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadTableConfig(context, &config_));
    OP_REQUIRES_OK(context, context->GetAttr("shard", &shard_));
    OP_REQUIRES_OK(context, context->GetAttr("num_shards", &num_shards_));
    OP_REQUIRES_OK(context, context->GetAttr("generation", &generation_));
    OP_REQUIRES_OK(context, ValidateConfig(config_));
    OP_REQUIRES(context,
                num_shards_ >= 1 && num_shards_ <= kNumPartitions &&
                    shard_ >= 0 && shard_ < num_shards_,
                absl::InvalidArgumentError(absl::StrCat(
                    "Table '", config_.name, "': shard must be in [0, ",
                    "num_shards) and num_shards in [1, ", kNumPartitions,
                    "], got shard ", shard_, " of ", num_shards_, ".")));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckHandle(context->input(0)));
    const tensorflow::ResourceHandle& handle =
        tensorflow::HandleFromInput(context, 0);
    TableSetPtr resource;
    OP_REQUIRES_OK(
        context, tensorflow::LookupOrCreateResource<TableSetResource>(
                     context, handle, &resource, [&](TableSetResource** made) {
                       *made = new TableSetResource(handle.name(), shard_,
                                                    num_shards_,
                                                    GenerationOf(generation_));
                       return absl::OkStatus();
                     }));
    OP_REQUIRES(
        context,
        resource->shard() == shard_ && resource->num_shards() == num_shards_,
        absl::InvalidArgumentError(absl::StrCat(
            "Table set '", handle.name(), "' on ", context->device()->name(),
            " is shard ", resource->shard(), " of ", resource->num_shards(),
            "; table '", config_.name, "' was to be made in shard ", shard_,
            " of ", num_shards_, ".")));
    OP_REQUIRES_OK(context, resource->tables().CreateTable(config_));
  }

 private:
  TableConfig config_;
  int64_t shard_;
  int64_t num_shards_;
  int64_t generation_;
};

// An op on one table, named by the attribute `table`.
class OneTableOp : public OpKernel {
 public:
  explicit OneTableOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &name_));
  }

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::shared_ptr<Table> table;
    OP_REQUIRES_OK(context, FindTable(context, resource.get(), name_, &table));
    Run(context, resource.get(), table.get());
  }

 protected:
  virtual void Run(OpKernelContext* context, TableSetResource* resource,
                   Table* table) = 0;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

// What is gone already is dropped: a finalizer that runs after the table set
// went must not log an error.
class TableDropOp : public OpKernel {
 public:
  explicit TableDropOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &name_));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckHandle(context->input(0)));
    TableSetPtr resource;
    const absl::Status found = tensorflow::LookupResource(
        context, tensorflow::HandleFromInput(context, 0), &resource);
    if (absl::IsNotFound(found)) return;
    OP_REQUIRES_OK(context, found);
    const absl::Status dropped = resource->tables().DropTable(name_);
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
  void Run(OpKernelContext* context, TableSetResource*, Table* table) override {
    OP_REQUIRES(context, table->dim() == dim_,
                absl::InvalidArgumentError(absl::StrCat(
                    "Table '", name(), "' has dim ", table->dim(),
                    ", but the op was built for dim ", dim_, ".")));
    const Tensor& ids = context->input(1);
    OP_REQUIRES(context, ids.dims() == 1,
                absl::InvalidArgumentError(absl::StrCat(
                    "Table '", name(), "': `ids` must be a vector, got shape ",
                    ids.shape().DebugString(), ".")));
    const int64_t n = ids.dim_size(0);
    Tensor* rows = nullptr;
    Tensor* exists = nullptr;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, TensorShape({n, dim_}), &rows));
    OP_REQUIRES_OK(context,
                   context->allocate_output(1, TensorShape({n}), &exists));
    table->Lookup(ids.flat<int64_t>().data(), n, rows->flat<float>().data(),
                  exists->flat<bool>().data());
  }

 private:
  int64_t dim_;
};

class AssignOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  void Run(OpKernelContext* context, TableSetResource*, Table* table) override {
    const Tensor& ids = context->input(1);
    const Tensor& rows = context->input(2);
    const Tensor& event_time = context->input(3);
    OP_REQUIRES_OK(context, CheckRows(name(), ids, rows, table->dim()));
    OP_REQUIRES_OK(context, CheckScalar("event_time", event_time));
    const RunningUpdate update = table->BeginUpdate();
    const absl::Status status =
        InParts(context, ids.dim_size(0), [&](StripePart part) {
          return table->AssignPart(
              ids.flat<int64_t>().data(), rows.flat<float>().data(),
              ids.dim_size(0), event_time.scalar<int64_t>()(), update, part);
        });
    table->EndUpdate(update);
    OP_REQUIRES_OK(context, status);
  }
};

class RemoveOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  void Run(OpKernelContext* context, TableSetResource*, Table* table) override {
    const Tensor& ids = context->input(1);
    OP_REQUIRES(context, ids.dims() == 1,
                absl::InvalidArgumentError(absl::StrCat(
                    "Table '", name(), "': `ids` must be a vector, got shape ",
                    ids.shape().DebugString(), ".")));
    Tensor* removed = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &removed));
    removed->scalar<int64_t>()() =
        table->Remove(ids.flat<int64_t>().data(), ids.dim_size(0));
  }
};

class ClearOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  void Run(OpKernelContext*, TableSetResource*, Table* table) override {
    table->Clear();
  }
};

class SetPretrainedOp : public OneTableOp {
 public:
  explicit SetPretrainedOp(OpKernelConstruction* context)
      : OneTableOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("segment", &segment_));
    OP_REQUIRES(
        context, segment_ >= 0 && segment_ < kMaxDim,
        absl::InvalidArgumentError(absl::StrCat(
            "Table '", name(), "': segment must be the number of a ",
            "segment, from 0 to ", kMaxDim - 1, ", got ", segment_, ".")));
  }

 protected:
  void Run(OpKernelContext* context, TableSetResource*, Table* table) override {
    const Tensor& ids = context->input(1);
    const Tensor& rows = context->input(2);
    OP_REQUIRES(context, rows.dims() == 2,
                absl::InvalidArgumentError(absl::StrCat(
                    "Table '", name(), "': `rows` must be a matrix, got shape ",
                    rows.shape().DebugString(), ".")));
    OP_REQUIRES_OK(context, CheckRows(name(), ids, rows, rows.dim_size(1)));
    auto pretrained = PretrainedRows::Create(ids.flat<int64_t>().data(),
                                             rows.flat<float>().data(),
                                             ids.dim_size(0), rows.dim_size(1));
    OP_REQUIRES_OK(context, pretrained.status());
    OP_REQUIRES_OK(context, table->SetPretrained(static_cast<int>(segment_),
                                                 *std::move(pretrained)));
  }

 private:
  int64_t segment_;
};

class SweepOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  void Run(OpKernelContext* context, TableSetResource*, Table* table) override {
    const Tensor& event_time = context->input(1);
    OP_REQUIRES_OK(context, CheckScalar("event_time", event_time));
    const int64_t time = event_time.scalar<int64_t>()();
    // Milliseconds, say, would end the time of every row.
    OP_REQUIRES(
        context, time >= 0 && time <= UINT32_MAX,
        absl::InvalidArgumentError(absl::StrCat(
            "Table '", name(), "': event_time must be seconds since the epoch ",
            "in [0, ", UINT32_MAX, "], got ", time, ".")));
    Tensor* evicted = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &evicted));
    evicted->scalar<int64_t>()() = table->Sweep(time);
  }
};

class SizeOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  void Run(OpKernelContext* context, TableSetResource*, Table* table) override {
    Tensor* size = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &size));
    size->scalar<int64_t>()() = table->size();
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
