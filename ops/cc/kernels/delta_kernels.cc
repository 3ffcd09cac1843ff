// Kernels that cut deltas and return the state of a table set.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/failpoints/failpoints.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/many_tables_op.h"
#include "ops/cc/kernels/table_set_op.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::OpOutputList;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class StartDeltasOp : public TableSetOp {
 public:
  explicit StartDeltasOp(OpKernelConstruction* context) : TableSetOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("max_log_bytes", &max_log_bytes_));
    OP_REQUIRES(context, max_log_bytes_ >= 0,
                absl::InvalidArgumentError(
                    absl::StrCat("max_log_bytes must not be negative. "
                                 "Received: ",
                                 max_log_bytes_, ".")));
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSetResource* set) override {
    const absl::StatusOr<int64_t> cut =
        set->tables().StartDeltas(max_log_bytes_);
    TF_RETURN_IF_ERROR(cut.status());
    return SetScalar(context, "cut", *cut);
  }

 private:
  int64_t max_log_bytes_;
};

class StopDeltasOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status Run(OpKernelContext*, TableSetResource* set) override {
    set->tables().StopDeltas();
    return absl::OkStatus();
  }
};

class TakeDeltaOp : public ManyTablesOp {
 public:
  explicit TakeDeltaOp(OpKernelConstruction* context) : ManyTablesOp(context) {
    if (!context->status().ok()) return;
    int64_t count;
    OP_REQUIRES_OK(context, context->GetAttr("num_tables", &count));
    OP_REQUIRES(context, num_tables() == count,
                absl::InvalidArgumentError(
                    absl::StrCat("tables must have num_tables entries, ", count,
                                 ". Received: ", num_tables(), ".")));
  }

 protected:
  absl::Status RunOnTables(OpKernelContext* context, TableSetResource* set,
                           const Tables&) override {
    int64_t acked_cut = 0;
    TF_RETURN_IF_ERROR(GetScalar(context, "acked_cut", &acked_cut));
    TF_RETURN_IF_ERROR(FailAt("take_delta.before"));
    absl::StatusOr<ShardDelta> taken = set->tables().TakeDelta(acked_cut);
    TF_RETURN_IF_ERROR(taken.status());
    // A lost answer: the next delta has these ids again.
    TF_RETURN_IF_ERROR(FailAt("take_delta.after"));
    const ShardDelta& delta = *taken;
    TF_RETURN_IF_ERROR(SetScalar(context, "generation", delta.generation));
    TF_RETURN_IF_ERROR(SetScalar(context, "from_cut", delta.from_cut));
    TF_RETURN_IF_ERROR(SetScalar(context, "to_cut", delta.to_cut));
    OpOutputList ids;
    OpOutputList exists;
    OpOutputList rows;
    TF_RETURN_IF_ERROR(context->output_list("ids", &ids));
    TF_RETURN_IF_ERROR(context->output_list("exists", &exists));
    TF_RETURN_IF_ERROR(context->output_list("rows", &rows));
    for (int64_t t = 0; t < num_tables(); ++t) {
      const auto part = std::find_if(
          delta.tables.begin(), delta.tables.end(),
          [&](const TableDelta& d) { return d.table == names()[t]; });
      const bool found = part != delta.tables.end();
      const int64_t n = found ? part->ids.size() : 0;
      Tensor* part_ids = nullptr;
      Tensor* part_exists = nullptr;
      Tensor* part_rows = nullptr;
      TF_RETURN_IF_ERROR(ids.allocate(t, TensorShape({n}), &part_ids));
      TF_RETURN_IF_ERROR(exists.allocate(t, TensorShape({n}), &part_exists));
      TF_RETURN_IF_ERROR(
          rows.allocate(t, TensorShape({n, dims()[t]}), &part_rows));
      if (!found) continue;
      std::copy_n(part->ids.data(), n, part_ids->flat<int64_t>().data());
      CopyRows(*part, dims()[t], part_exists->flat<bool>().data(),
               part_rows->flat<float>().data());
    }
    return absl::OkStatus();
  }

 private:
  // A delta holds the rows that exist; the output has zeros for the others.
  static void CopyRows(const TableDelta& part, int64_t dim, bool* exists,
                       float* rows) {
    const float* row = part.rows.data();
    for (size_t i = 0; i < part.ids.size(); ++i, rows += dim) {
      exists[i] = part.exists[i] != 0;
      if (exists[i]) {
        std::copy_n(row, dim, rows);
        row += dim;
      } else {
        std::fill_n(rows, dim, 0.0f);
      }
    }
  }
};

class RenewOp : public TableSetOp {
 public:
  explicit RenewOp(OpKernelConstruction* context) : TableSetOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("generation", &generation_));
  }

 protected:
  absl::Status Run(OpKernelContext*, TableSetResource* set) override {
    TF_RETURN_IF_ERROR(FailAt("renew.before"));
    TF_RETURN_IF_ERROR(set->tables().Renew(GenerationOf(generation_)));
    // Rows went back in time, so the same requests may come again.
    set->requests().Forget();
    return FailAt("renew.after");
  }

 private:
  int64_t generation_;
};

class TableSetStatusOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  absl::Status Run(OpKernelContext* context, TableSetResource* set) override {
    TF_RETURN_IF_ERROR(
        SetScalar(context, "generation", set->tables().generation()));
    return SetScalar(context, "cut", set->tables().cut());
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithStartDeltas").Device(DEVICE_CPU),
                        StartDeltasOp);
REGISTER_KERNEL_BUILDER(Name("MonolithStopDeltas").Device(DEVICE_CPU),
                        StopDeltasOp);
REGISTER_KERNEL_BUILDER(Name("MonolithTakeDelta").Device(DEVICE_CPU),
                        TakeDeltaOp);
REGISTER_KERNEL_BUILDER(Name("MonolithRenew").Device(DEVICE_CPU), RenewOp);
REGISTER_KERNEL_BUILDER(Name("MonolithTableSetStatus").Device(DEVICE_CPU),
                        TableSetStatusOp);

}  // namespace
}  // namespace monolith_tf
