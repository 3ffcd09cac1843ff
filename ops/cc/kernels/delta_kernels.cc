// Kernels that cut deltas and tell the state of a table set.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

absl::Status ScalarOut(OpKernelContext* context, int output, int64_t value) {
  Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(output, {}, &tensor));
  tensor->scalar<int64_t>()() = value;
  return absl::OkStatus();
}

class StartDeltasOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    OP_REQUIRES_OK(context, resource->tables().StartDeltas().status());
    OP_REQUIRES_OK(context, ScalarOut(context, 0, resource->tables().cut()));
  }
};

class TakeDeltaOp : public OpKernel {
 public:
  explicit TakeDeltaOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tables", &names_));
    OP_REQUIRES_OK(context, context->GetAttr("dims", &dims_));
    int64_t num_tables;
    OP_REQUIRES_OK(context, context->GetAttr("num_tables", &num_tables));
    OP_REQUIRES(context, static_cast<int64_t>(names_.size()) == num_tables,
                absl::InvalidArgumentError(absl::StrCat(
                    "`num_tables` is ", num_tables, " but `tables` has ",
                    names_.size(), " entries.")));
    OP_REQUIRES_OK(context, CheckDims(dims_, num_tables));
  }

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    const int num_tables = names_.size();
    for (int t = 0; t < num_tables; ++t) {
      std::shared_ptr<Table> table;
      OP_REQUIRES_OK(context, FindTableOfDim(context, resource.get(), names_[t],
                                             dims_[t], &table));
    }
    const Tensor& acked = context->input(1);
    OP_REQUIRES(context, acked.dims() == 0,
                absl::InvalidArgumentError(
                    absl::StrCat("`acked_cut` must be a scalar, got shape ",
                                 acked.shape().DebugString(), ".")));
    absl::StatusOr<ShardDelta> taken =
        resource->tables().TakeDelta(acked.scalar<int64_t>()());
    OP_REQUIRES_OK(context, taken.status());
    const ShardDelta& delta = *taken;
    OP_REQUIRES_OK(context, ScalarOut(context, 0, delta.generation));
    OP_REQUIRES_OK(context, ScalarOut(context, 1, delta.from_cut));
    OP_REQUIRES_OK(context, ScalarOut(context, 2, delta.to_cut));
    for (int t = 0; t < num_tables; ++t) {
      const auto part = std::find_if(
          delta.tables.begin(), delta.tables.end(),
          [&](const TableDelta& d) { return d.table == names_[t]; });
      const bool found = part != delta.tables.end();
      const int64_t n = found ? part->ids.size() : 0;
      Tensor* ids = nullptr;
      Tensor* exists = nullptr;
      Tensor* rows = nullptr;
      OP_REQUIRES_OK(context,
                     context->allocate_output(3 + t, TensorShape({n}), &ids));
      OP_REQUIRES_OK(context,
                     context->allocate_output(3 + num_tables + t,
                                              TensorShape({n}), &exists));
      OP_REQUIRES_OK(
          context, context->allocate_output(3 + 2 * num_tables + t,
                                            TensorShape({n, dims_[t]}), &rows));
      if (!found) continue;
      std::copy_n(part->ids.data(), n, ids->flat<int64_t>().data());
      float* out = rows->flat<float>().data();
      const float* row = part->rows.data();
      for (int64_t i = 0; i < n; ++i) {
        const bool live = part->exists[i] != 0;
        exists->flat<bool>()(i) = live;
        if (live) {
          std::copy_n(row, dims_[t], out);
          row += dims_[t];
        } else {
          std::fill_n(out, dims_[t], 0.0f);
        }
        out += dims_[t];
      }
    }
  }

 private:
  std::vector<std::string> names_;
  std::vector<int64_t> dims_;
};

class RenewOp : public OpKernel {
 public:
  explicit RenewOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("generation", &generation_));
  }

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    resource->tables().Renew(GenerationOf(generation_));
    // Rows went back in time: steps that were taken may be made again.
    resource->requests().ForgetRequests();
  }

 private:
  int64_t generation_;
};

class TableSetStatusOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    OP_REQUIRES_OK(context,
                   ScalarOut(context, 0, resource->tables().generation()));
    OP_REQUIRES_OK(context, ScalarOut(context, 1, resource->tables().cut()));
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithStartDeltas").Device(DEVICE_CPU),
                        StartDeltasOp);
REGISTER_KERNEL_BUILDER(Name("MonolithTakeDelta").Device(DEVICE_CPU),
                        TakeDeltaOp);
REGISTER_KERNEL_BUILDER(Name("MonolithRenew").Device(DEVICE_CPU), RenewOp);
REGISTER_KERNEL_BUILDER(Name("MonolithTableSetStatus").Device(DEVICE_CPU),
                        TableSetStatusOp);

}  // namespace
}  // namespace monolith_tf
