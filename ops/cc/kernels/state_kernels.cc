// Kernels that read whole rows and filters out of a table and put them back:
// export in chunks, export by checkpoint group, import.

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/table/table.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

absl::Status CopyOut(OpKernelContext* context, int output,
                     const TensorShape& shape, const int64_t* data) {
  Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(output, shape, &tensor));
  std::copy_n(data, tensor->NumElements(), tensor->flat<int64_t>().data());
  return absl::OkStatus();
}

absl::Status CopyOut(OpKernelContext* context, int output,
                     const TensorShape& shape, const float* data) {
  Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(output, shape, &tensor));
  std::copy_n(data, tensor->NumElements(), tensor->flat<float>().data());
  return absl::OkStatus();
}

absl::Status CheckGroups(int64_t first_group, int64_t num_groups) {
  if (first_group >= 0 && num_groups >= 1 && first_group < kNumGroups &&
      num_groups <= kNumGroups - first_group) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "Groups are numbered from 0 to ", kNumGroups - 1, "; got first_group ",
      first_group, " and num_groups ", num_groups, "."));
}

class ExportChunkOp : public OpKernel {
 public:
  explicit ExportChunkOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &table_));
    OP_REQUIRES_OK(context, context->GetAttr("max_rows", &max_rows_));
    OP_REQUIRES(context, max_rows_ >= 1,
                absl::InvalidArgumentError(absl::StrCat(
                    "`max_rows` must be positive, got ", max_rows_, ".")));
    OP_REQUIRES_OK(context, context->GetAttr("values", &values_));
  }

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::shared_ptr<Table> table;
    OP_REQUIRES_OK(context, FindTable(context, resource.get(), table_, &table));
    const Tensor& cursor = context->input(1);
    OP_REQUIRES(context, cursor.dims() == 0,
                absl::InvalidArgumentError(
                    absl::StrCat("`cursor` must be a scalar, got shape ",
                                 cursor.shape().DebugString(), ".")));
    const int64_t start = cursor.scalar<int64_t>()();
    OP_REQUIRES(context, start >= 0,
                absl::InvalidArgumentError(absl::StrCat(
                    "`cursor` must be 0 or the `next_cursor` of the call "
                    "before; got ",
                    start, " (-1 means that the export has ended).")));
    std::vector<int64_t> ids;
    std::vector<int64_t> stamps;
    std::vector<float> rows;
    const int64_t next =
        table->ExportChunk(start, max_rows_, &ids, &rows, &stamps);
    const int64_t n = ids.size();
    OP_REQUIRES_OK(context, CopyOut(context, 0, TensorShape({n}), ids.data()));
    OP_REQUIRES_OK(context,
                   CopyOut(context, 1, TensorShape({n}), stamps.data()));
    if (values_) {
      Tensor* values = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(
                                  2, TensorShape({n, table->dim()}), &values));
      table->ValuesOf(rows.data(), n, values->flat<float>().data());
    } else {
      OP_REQUIRES_OK(context,
                     CopyOut(context, 2, TensorShape({n, table->row_width()}),
                             rows.data()));
    }
    OP_REQUIRES_OK(context, CopyOut(context, 3, TensorShape({}), &next));
  }

 private:
  bool values_;
  std::string table_;
  int64_t max_rows_;
};

// An op on one table that gives lists of outputs, one a checkpoint group.
class GroupsOp : public OpKernel {
 public:
  explicit GroupsOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &table_));
    OP_REQUIRES_OK(context, context->GetAttr("first_group", &first_group_));
    OP_REQUIRES_OK(context, context->GetAttr("num_groups", &num_groups_));
    OP_REQUIRES_OK(context, CheckGroups(first_group_, num_groups_));
  }

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::shared_ptr<Table> table;
    OP_REQUIRES_OK(context, FindTable(context, resource.get(), table_, &table));
    Run(context, *table);
  }

 protected:
  virtual void Run(OpKernelContext* context, const Table& table) = 0;
  int64_t first_group() const { return first_group_; }
  int64_t num_groups() const { return num_groups_; }

 private:
  std::string table_;
  int64_t first_group_;
  int64_t num_groups_;
};

class ExportGroupsOp : public GroupsOp {
 public:
  using GroupsOp::GroupsOp;

 protected:
  void Run(OpKernelContext* context, const Table& table) override {
    std::vector<int64_t> group_counts;
    std::vector<int64_t> ids;
    std::vector<int64_t> stamps;
    std::vector<float> rows;
    table.ExportGroups(first_group(), first_group() + num_groups(),
                       &group_counts, &ids, &stamps, &rows);
    const int64_t width = table.row_width();
    int64_t start = 0;
    for (int64_t g = 0; g < num_groups(); ++g) {
      const int64_t n = group_counts[g];
      Tensor* keys = nullptr;
      OP_REQUIRES_OK(context,
                     context->allocate_output(g, TensorShape({n, 2}), &keys));
      int64_t* out = keys->flat<int64_t>().data();
      for (int64_t i = 0; i < n; ++i) {
        out[2 * i] = ids[start + i];
        out[2 * i + 1] = stamps[start + i];
      }
      OP_REQUIRES_OK(context,
                     CopyOut(context, num_groups() + g, TensorShape({n, width}),
                             rows.data() + start * width));
      start += n;
    }
  }
};

class ImportOp : public OpKernel {
 public:
  explicit ImportOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &table_));
  }

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::shared_ptr<Table> table;
    OP_REQUIRES_OK(context, FindTable(context, resource.get(), table_, &table));
    const Tensor& keys = context->input(1);
    const Tensor& rows = context->input(2);
    const int64_t width = table->row_width();
    OP_REQUIRES(
        context, keys.dims() == 2 && keys.dim_size(1) == 2,
        absl::InvalidArgumentError(absl::StrCat(
            "Table '", table_, "': `keys` must be [n, 2] (id, stamp), got ",
            keys.shape().DebugString(), ".")));
    const int64_t n = keys.dim_size(0);
    OP_REQUIRES(
        context,
        rows.dims() == 2 && rows.dim_size(0) == n && rows.dim_size(1) == width,
        absl::InvalidArgumentError(absl::StrCat(
            "Table '", table_, "' has rows of ", width,
            " floats (weights, then slots), so `rows` must be [", n, ", ",
            width, "]; got ", rows.shape().DebugString(),
            ". Were they saved by a table with another dim or optimizer?")));
    const int64_t* key = keys.flat<int64_t>().data();
    const float* row = rows.flat<float>().data();
    std::vector<int64_t> ids;
    std::vector<int64_t> stamps;
    std::vector<float> owned;
    ids.reserve(n);
    stamps.reserve(n);
    owned.reserve(n * width);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t id = key[2 * i];
      if (OwnerOf(PartitionOf(id), resource->num_shards()) !=
          resource->shard()) {
        continue;
      }
      ids.push_back(id);
      stamps.push_back(key[2 * i + 1]);
      owned.insert(owned.end(), row + i * width, row + (i + 1) * width);
    }
    const auto num_owned = static_cast<int64_t>(ids.size());
    const RunningUpdate update = table->BeginUpdate();
    const absl::Status status =
        InParts(context, num_owned, [&](StripePart part) {
          return table->ImportPart(ids.data(), stamps.data(), owned.data(),
                                   num_owned, part);
        });
    table->EndUpdate(update);
    OP_REQUIRES_OK(context, status);
  }

 private:
  std::string table_;
};

class ExportFilterOp : public GroupsOp {
 public:
  using GroupsOp::GroupsOp;

 protected:
  void Run(OpKernelContext* context, const Table& table) override {
    const std::vector<std::vector<int64_t>> words =
        table.ExportFilter(first_group(), first_group() + num_groups());
    for (int64_t g = 0; g < num_groups(); ++g) {
      const auto n = static_cast<int64_t>(words[g].size());
      OP_REQUIRES_OK(context,
                     CopyOut(context, g, TensorShape({n}), words[g].data()));
    }
  }
};

class ImportFilterOp : public OpKernel {
 public:
  explicit ImportFilterOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &table_));
    OP_REQUIRES_OK(context, context->GetAttr("group", &group_));
    OP_REQUIRES_OK(context, CheckGroups(group_, 1));
  }

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::shared_ptr<Table> table;
    OP_REQUIRES_OK(context, FindTable(context, resource.get(), table_, &table));
    const Tensor& words = context->input(1);
    OP_REQUIRES(context, words.dims() == 1,
                absl::InvalidArgumentError(
                    absl::StrCat("`words` must be a vector, got shape ",
                                 words.shape().DebugString(), ".")));
    const int64_t* const data = words.flat<int64_t>().data();
    const TableSetResource* const owner = resource.get();
    OP_REQUIRES_OK(context,
                   table->ImportFilter(
                       static_cast<int>(group_),
                       std::vector<int64_t>(data, data + words.NumElements()),
                       [owner](int64_t id) {
                         return OwnerOf(PartitionOf(id), owner->num_shards()) ==
                                owner->shard();
                       }));
  }

 private:
  std::string table_;
  int64_t group_;
};

class ReadClockOp : public OpKernel {
 public:
  explicit ReadClockOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &table_));
  }

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::shared_ptr<Table> table;
    OP_REQUIRES_OK(context, FindTable(context, resource.get(), table_, &table));
    const Clock clock = table->clock();
    const int64_t numbers[] = {clock.global_step, clock.event_time};
    OP_REQUIRES_OK(context, CopyOut(context, 0, TensorShape({2}), numbers));
  }

 private:
  std::string table_;
};

class SetClockOp : public OpKernel {
 public:
  explicit SetClockOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &table_));
  }

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::shared_ptr<Table> table;
    OP_REQUIRES_OK(context, FindTable(context, resource.get(), table_, &table));
    const Tensor& clock = context->input(1);
    OP_REQUIRES(context, clock.dims() == 1 && clock.dim_size(0) == 2,
                absl::InvalidArgumentError(absl::StrCat(
                    "`clock` must be [2] (global step, event time), got shape ",
                    clock.shape().DebugString(), ".")));
    OP_REQUIRES_OK(context, table->SetClock({clock.vec<int64_t>()(0),
                                             clock.vec<int64_t>()(1)}));
  }

 private:
  std::string table_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithReadClock").Device(DEVICE_CPU),
                        ReadClockOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSetClock").Device(DEVICE_CPU),
                        SetClockOp);
REGISTER_KERNEL_BUILDER(Name("MonolithExportFilter").Device(DEVICE_CPU),
                        ExportFilterOp);
REGISTER_KERNEL_BUILDER(Name("MonolithImportFilter").Device(DEVICE_CPU),
                        ImportFilterOp);
REGISTER_KERNEL_BUILDER(Name("MonolithExportChunk").Device(DEVICE_CPU),
                        ExportChunkOp);
REGISTER_KERNEL_BUILDER(Name("MonolithExportGroups").Device(DEVICE_CPU),
                        ExportGroupsOp);
REGISTER_KERNEL_BUILDER(Name("MonolithImport").Device(DEVICE_CPU), ImportOp);

}  // namespace
}  // namespace monolith_tf
