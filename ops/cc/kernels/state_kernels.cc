// Kernels that export whole rows and filters of a table, in chunks or by
// checkpoint group, and import them.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/failpoints/failpoints.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/one_table_op.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/table/table.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/logging.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::OpOutputList;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

absl::Status CheckGroups(int64_t first_group, int64_t num_groups) {
  if (first_group >= 0 && num_groups >= 1 && first_group < kNumGroups &&
      num_groups <= kNumGroups - first_group) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "groups must be from 0 to ", kNumGroups - 1, ". Received: ", num_groups,
      " groups from ", first_group, " on."));
}

// The shard of `set` owns `id`.
bool Owns(const TableSetResource& set, int64_t id) {
  return OwnerOf(PartitionOf(id), set.num_shards()) == set.shard();
}

class ExportChunkOp : public OneTableOp {
 public:
  explicit ExportChunkOp(OpKernelConstruction* context) : OneTableOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("max_rows", &max_rows_));
    OP_REQUIRES(context, max_rows_ >= 1,
                Named(absl::InvalidArgumentError(absl::StrCat(
                    "max_rows must be positive. Received: ", max_rows_, "."))));
    OP_REQUIRES_OK(context, context->GetAttr("values", &values_));
  }

 protected:
  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    int64_t cursor = 0;
    TF_RETURN_IF_ERROR(Named(GetScalar(context, "cursor", &cursor)));
    if (cursor < 0) {
      return Named(absl::InvalidArgumentError(absl::StrCat(
          "cursor must be 0 or the next_cursor of the previous call. "
          "Received: ",
          cursor, ". A next_cursor of -1 ends the export.")));
    }
    std::vector<int64_t> ids;
    std::vector<int64_t> stamps;
    std::vector<float> rows;
    const int64_t next =
        table->ExportChunk(cursor, max_rows_, &ids, &rows, &stamps);
    const int64_t n = ids.size();
    TF_RETURN_IF_ERROR(CopyOut(context, "ids", TensorShape({n}), ids.data()));
    TF_RETURN_IF_ERROR(
        CopyOut(context, "stamps", TensorShape({n}), stamps.data()));
    if (values_) {
      Tensor* values = nullptr;
      TF_RETURN_IF_ERROR(context->allocate_output(
          "rows", TensorShape({n, table->dim()}), &values));
      table->ValuesOf(rows.data(), n, values->flat<float>().data());
    } else {
      TF_RETURN_IF_ERROR(CopyOut(
          context, "rows", TensorShape({n, table->row_width()}), rows.data()));
    }
    return SetScalar(context, "next_cursor", next);
  }

 private:
  bool values_;
  int64_t max_rows_;
};

// An op on one table whose outputs are lists with one entry per checkpoint
// group.
class GroupsOp : public OneTableOp {
 public:
  explicit GroupsOp(OpKernelConstruction* context) : OneTableOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("first_group", &first_group_));
    OP_REQUIRES_OK(context, context->GetAttr("num_groups", &num_groups_));
    OP_REQUIRES_OK(context, Named(CheckGroups(first_group_, num_groups_)));
  }

 protected:
  int64_t first_group() const { return first_group_; }
  int64_t num_groups() const { return num_groups_; }

 private:
  int64_t first_group_;
  int64_t num_groups_;
};

class ExportGroupsOp : public GroupsOp {
 public:
  using GroupsOp::GroupsOp;

 protected:
  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    TF_RETURN_IF_ERROR(Named(FailAt("export_groups.before")));
    std::vector<int64_t> group_counts;
    std::vector<int64_t> ids;
    std::vector<int64_t> stamps;
    std::vector<float> rows;
    table->ExportGroups(first_group(), first_group() + num_groups(),
                        &group_counts, &ids, &stamps, &rows);
    OpOutputList keys_out;
    OpOutputList rows_out;
    TF_RETURN_IF_ERROR(context->output_list("keys", &keys_out));
    TF_RETURN_IF_ERROR(context->output_list("rows", &rows_out));
    const int64_t width = table->row_width();
    int64_t start = 0;
    for (int64_t g = 0; g < num_groups(); ++g) {
      const int64_t n = group_counts[g];
      Tensor* group_keys = nullptr;
      Tensor* group_rows = nullptr;
      TF_RETURN_IF_ERROR(
          keys_out.allocate(g, TensorShape({n, 2}), &group_keys));
      TF_RETURN_IF_ERROR(
          rows_out.allocate(g, TensorShape({n, width}), &group_rows));
      int64_t* out = group_keys->flat<int64_t>().data();
      for (int64_t i = 0; i < n; ++i) {
        out[2 * i] = ids[start + i];
        out[2 * i + 1] = stamps[start + i];
      }
      std::copy_n(rows.data() + start * width, n * width,
                  group_rows->flat<float>().data());
      start += n;
    }
    return absl::OkStatus();
  }
};

class ImportRowsOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status RunOnTable(OpKernelContext* context, TableSetResource* set,
                          Table* table) override {
    const Tensor* keys = nullptr;
    const Tensor* rows = nullptr;
    TF_RETURN_IF_ERROR(context->input("keys", &keys));
    TF_RETURN_IF_ERROR(context->input("rows", &rows));
    const int64_t width = table->row_width();
    TF_RETURN_IF_ERROR(Named(CheckShapes(keys->shape(), rows->shape(), width)));
    const int64_t n = keys->dim_size(0);
    const int64_t* key = keys->flat<int64_t>().data();
    const float* row = rows->flat<float>().data();
    std::vector<int64_t> ids;
    std::vector<int64_t> stamps;
    std::vector<float> owned;
    ids.reserve(n);
    stamps.reserve(n);
    owned.reserve(n * width);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t id = key[2 * i];
      if (!Owns(*set, id)) continue;
      ids.push_back(id);
      stamps.push_back(key[2 * i + 1]);
      owned.insert(owned.end(), row + i * width, row + (i + 1) * width);
    }
    TF_RETURN_IF_ERROR(Named(FailAt("import_rows.before")));
    const auto num_owned = static_cast<int64_t>(ids.size());
    const RunningUpdate update = table->BeginUpdate();
    const absl::Status status =
        InParts(context, num_owned, [&](StripePart part) {
          return table->ImportPart(ids.data(), stamps.data(), owned.data(),
                                   num_owned, part);
        });
    table->EndUpdate(update);
    TF_RETURN_IF_ERROR(status);
    return Named(FailAt("import_rows.after"));
  }

 private:
  static absl::Status CheckShapes(const TensorShape& keys,
                                  const TensorShape& rows, int64_t width) {
    if (keys.dims() != 2 || keys.dim_size(1) != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("keys must be [n, 2], id and stamp. Received: shape ",
                       keys.DebugString(), "."));
    }
    const int64_t n = keys.dim_size(0);
    if (rows.dims() == 2 && rows.dim_size(0) == n &&
        rows.dim_size(1) == width) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "rows must be [", n, ", ", width, "], rows of ", width,
        " floats (weights, then slots). Received: shape ", rows.DebugString(),
        ". A checkpoint fits a table with the dim and the optimizer that it "
        "was saved with."));
  }
};

class ExportFilterOp : public GroupsOp {
 public:
  using GroupsOp::GroupsOp;

 protected:
  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    const std::vector<std::vector<int64_t>> words =
        table->ExportFilter(first_group(), first_group() + num_groups());
    OpOutputList out;
    TF_RETURN_IF_ERROR(context->output_list("words", &out));
    for (int64_t g = 0; g < num_groups(); ++g) {
      const auto n = static_cast<int64_t>(words[g].size());
      Tensor* group = nullptr;
      TF_RETURN_IF_ERROR(out.allocate(g, TensorShape({n}), &group));
      std::copy_n(words[g].data(), n, group->flat<int64_t>().data());
    }
    return absl::OkStatus();
  }
};

class ImportFilterOp : public OneTableOp {
 public:
  explicit ImportFilterOp(OpKernelConstruction* context) : OneTableOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("group", &group_));
    OP_REQUIRES_OK(context, Named(CheckGroups(group_, 1)));
  }

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status RunOnTable(OpKernelContext* context, TableSetResource* set,
                          Table* table) override {
    const Tensor* words = nullptr;
    TF_RETURN_IF_ERROR(Named(GetVector(context, "words", &words)));
    const int64_t* const data = words->flat<int64_t>().data();
    TF_RETURN_IF_ERROR(Named(FailAt("import_filter.before")));
    return table->ImportFilter(
        static_cast<int>(group_),
        std::vector<int64_t>(data, data + words->NumElements()),
        [set](int64_t id) { return Owns(*set, id); });
  }

 private:
  int64_t group_;
};

class ReadClockOp : public OneTableOp {
 public:
  using OneTableOp::OneTableOp;

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    const Clock clock = table->clock();
    const int64_t numbers[] = {clock.global_step, clock.event_time};
    return CopyOut(context, "clock", TensorShape({2}), numbers);
  }
};

class SetClockOp : public OneTableOp {
 public:
  explicit SetClockOp(OpKernelConstruction* context) : OneTableOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("in_restore", &in_restore_));
  }

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status RunOnTable(OpKernelContext* context, TableSetResource*,
                          Table* table) override {
    const Tensor* clock = nullptr;
    TF_RETURN_IF_ERROR(context->input("clock", &clock));
    if (clock->dims() != 1 || clock->dim_size(0) != 2) {
      return Named(absl::InvalidArgumentError(absl::StrCat(
          "clock must be [2], global step and event time. Received: shape ",
          clock->shape().DebugString(), ".")));
    }
    const auto numbers = clock->vec<int64_t>();
    if (!in_restore_) return table->SetClock({numbers(0), numbers(1)});
    const absl::StatusOr<bool> is_believed =
        table->RestoreClock({numbers(0), numbers(1)});
    if (is_believed.ok() && !*is_believed) {
      LOG(WARNING) << "Table '" << name() << "' on server "
                   << context->device()->name()
                   << ": the clock of the checkpoint, " << numbers(1)
                   << ", is too far in the future (max_future_seconds). It is "
                      "set by the rows with earlier times.";
    }
    return is_believed.status();
  }

 private:
  bool in_restore_;
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
REGISTER_KERNEL_BUILDER(Name("MonolithImportRows").Device(DEVICE_CPU),
                        ImportRowsOp);

}  // namespace
}  // namespace monolith_tf
