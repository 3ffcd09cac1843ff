// Kernels that make, read and change tables: check the inputs, call the core,
// copy out.
//
// The resource lives in the server's default container until the server stops
// or the container is reset. A kernel holds a reference to the set and a shared
// pointer to each table while it runs, so dropping a table waits for nobody.

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/kernels/config_attributes.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/server_counters.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/table/copy_floats.h"
#include "ops/cc/table/optimizer.h"
#include "ops/cc/table/partition.h"
#include "ops/cc/table/pretrained_rows.h"
#include "ops/cc/table/request_bounds.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_config.h"
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
    OP_REQUIRES_OK(context, config_.Validate());
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

class TableDropOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  void Run(OpKernelContext* context, TableSetResource* resource,
           Table*) override {
    OP_REQUIRES_OK(context, resource->tables().DropTable(name()));
  }
};

// An op on several tables, named by the attributes `tables` and `dims`.
class ManyTablesOp : public OpKernel {
 public:
  explicit ManyTablesOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tables", &names_));
    OP_REQUIRES_OK(context, context->GetAttr("dims", &dims_));
    OP_REQUIRES_OK(context, CheckDims(dims_, num_tables()));
  }

 protected:
  int64_t num_tables() const { return names_.size(); }
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<int64_t>& dims() const { return dims_; }

  absl::Status FindTables(OpKernelContext* context, TableSetResource* resource,
                          std::vector<std::shared_ptr<Table>>* tables) const {
    tables->resize(names_.size());
    for (size_t t = 0; t < names_.size(); ++t) {
      TF_RETURN_IF_ERROR(FindTableOfDim(context, resource, names_[t], dims_[t],
                                        &(*tables)[t]));
    }
    return absl::OkStatus();
  }

  // Floats that the rows of all tables take.
  int64_t NumFloats(const PackedIds& packed) const {
    int64_t floats = 0;
    for (size_t t = 0; t < dims_.size(); ++t) {
      floats += packed.sizes[t] * dims_[t];
    }
    return floats;
  }

 private:
  std::vector<std::string> names_;
  std::vector<int64_t> dims_;
};

class LookupOp : public ManyTablesOp {
 public:
  using ManyTablesOp::ManyTablesOp;

  void Compute(OpKernelContext* context) override {
    CountedCall call(&ServerCounters::Get().lookup);
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::vector<std::shared_ptr<Table>> tables;
    OP_REQUIRES_OK(context, FindTables(context, resource.get(), &tables));
    PackedIds packed;
    OP_REQUIRES_OK(
        context, PackedIds::Parse(context->input(1), /*prefix=*/0, num_tables(),
                                  /*columns=*/1, &packed));
    Tensor* rows = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({NumFloats(packed)}), &rows));
    call.Add(packed.total, context->input(1).TotalBytes() + rows->TotalBytes());
    std::vector<float*> out = {rows->flat<float>().data()};
    for (int64_t t = 0; t < num_tables(); ++t) {
      out.push_back(out[t] + packed.sizes[t] * dims()[t]);
    }
    const bool is_large =
        static_cast<int64_t>(rows->TotalBytes()) >= kMinStreamedBytes;
    // Ids of all tables stand behind each other: a range may be of several.
    ForEachRange(context, packed.total, [&](int64_t begin, int64_t end) {
      for (int64_t t = packed.TableOf(begin); begin < end; ++t) {
        const int64_t first = packed.offsets[t];
        const int64_t n = std::min(end, first + packed.sizes[t]) - begin;
        tables[t]->Lookup(packed.columns + begin, n,
                          out[t] + (begin - first) * dims()[t],
                          /*exists=*/nullptr, is_large);
        begin += n;
      }
    });
  }
};

class ApplyOp : public ManyTablesOp {
 public:
  using ManyTablesOp::ManyTablesOp;

  void Compute(OpKernelContext* context) override {
    CountedCall call(&ServerCounters::Get().apply);
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::vector<std::shared_ptr<Table>> tables;
    OP_REQUIRES_OK(context, FindTables(context, resource.get(), &tables));
    PackedIds packed;
    OP_REQUIRES_OK(
        context, PackedIds::Parse(context->input(1), /*prefix=*/2, num_tables(),
                                  /*columns=*/2, &packed));
    const Tensor& values = context->input(2);
    call.Add(packed.total,
             context->input(1).TotalBytes() + values.TotalBytes());
    int64_t num_segments = 0;
    for (const auto& table : tables) num_segments += table->num_segments();
    const int64_t num_values = num_segments + NumFloats(packed);
    OP_REQUIRES(
        context, values.dims() == 1 && values.NumElements() == num_values,
        absl::InvalidArgumentError(absl::StrCat(
            "`values` must be [", num_values, "] (", num_segments,
            " learning rates, one a segment, then the gradients of ",
            packed.total, " ids), got ", values.shape().DebugString(), ".")));
    const float* learning_rates = values.flat<float>().data();
    const float* gradients = learning_rates + num_segments;
    const StampedTime time(packed.prefix[1]);
    std::vector<ApplyRequest> requests(num_tables());
    for (int64_t t = 0; t < num_tables(); ++t) {
      ApplyRequest& request = requests[t];
      request.ids = packed.columns + packed.offsets[t];
      request.counts = packed.columns + packed.total + packed.offsets[t];
      request.gradients = gradients;
      request.n = packed.sizes[t];
      request.global_step = packed.prefix[0];
      request.event_time = time.event_time;
      request.learning_rates = learning_rates;
      learning_rates += tables[t]->num_segments();
      gradients += request.n * dims()[t];
      // All tables are checked before the first row of any changes.
      OP_REQUIRES_OK(context, tables[t]->Check(request));
    }
    // From here on only memory can end; then a part is applied, and a repeat
    // would step it again.
    if (!resource->requests().Begin(time)) return;
    CheckGradients(context, packed, &requests);
    OP_REQUIRES_OK(context, ApplyAll(context, packed, tables, requests));
  }

 private:
  // Finds the tables all of whose gradients are good.
  void CheckGradients(OpKernelContext* context, const PackedIds& packed,
                      std::vector<ApplyRequest>* requests) const {
    std::vector<std::atomic<bool>> are_good(num_tables());
    for (std::atomic<bool>& good : are_good) good = true;
    ForEachRange(context, packed.total, [&](int64_t begin, int64_t end) {
      for (int64_t t = packed.TableOf(begin); begin < end; ++t) {
        const int64_t first = packed.offsets[t];
        const int64_t n = std::min(end, first + packed.sizes[t]) - begin;
        if (!FiniteAndBounded(
                (*requests)[t].gradients + (begin - first) * dims()[t],
                n * dims()[t])) {
          are_good[t] = false;
        }
        begin += n;
      }
    });
    for (int64_t t = 0; t < num_tables(); ++t) {
      (*requests)[t].gradients_are_good = are_good[t];
    }
  }

  // Steps the rows of all tables. Many ids of a table are worked on in parts at
  // once, tables of few ids beside each other.
  absl::Status ApplyAll(OpKernelContext* context, const PackedIds& packed,
                        const std::vector<std::shared_ptr<Table>>& tables,
                        const std::vector<ApplyRequest>& requests) const {
    struct Unit {
      int64_t table;
      StripePart part;
    };
    std::vector<Unit> units;
    std::vector<RunningUpdate> updates;
    for (int64_t t = 0; t < num_tables(); ++t) {
      updates.push_back(tables[t]->BeginParts(requests[t]));
      const auto count =
          static_cast<int>(NumThreadsFor(context, packed.sizes[t]));
      for (int part = 0; part < count; ++part) {
        units.push_back({t, StripePart{part, count}});
      }
    }
    std::vector<absl::Status> statuses(units.size());
    ForEachUnit(context, units.size(), NumThreadsFor(context, packed.total),
                [&](int64_t i) {
                  const Unit& unit = units[i];
                  statuses[i] = tables[unit.table]->ApplyPart(
                      requests[unit.table], updates[unit.table], unit.part);
                });
    ForEachUnit(context, num_tables(), NumThreadsFor(context, packed.total),
                [&](int64_t t) { tables[t]->EndUpdate(updates[t]); });
    for (const absl::Status& status : statuses) {
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
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
REGISTER_KERNEL_BUILDER(Name("MonolithLookup").Device(DEVICE_CPU), LookupOp);
REGISTER_KERNEL_BUILDER(Name("MonolithLookupWithExists").Device(DEVICE_CPU),
                        LookupWithExistsOp);
REGISTER_KERNEL_BUILDER(Name("MonolithApply").Device(DEVICE_CPU), ApplyOp);
REGISTER_KERNEL_BUILDER(Name("MonolithAssign").Device(DEVICE_CPU), AssignOp);
REGISTER_KERNEL_BUILDER(Name("MonolithRemove").Device(DEVICE_CPU), RemoveOp);
REGISTER_KERNEL_BUILDER(Name("MonolithClear").Device(DEVICE_CPU), ClearOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSize").Device(DEVICE_CPU), SizeOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSetPretrained").Device(DEVICE_CPU),
                        SetPretrainedOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSweep").Device(DEVICE_CPU), SweepOp);

}  // namespace
}  // namespace monolith_tf
