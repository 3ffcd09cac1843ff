// Kernels that begin, end and abandon the restore of a table set. Those that
// set rows, counts and clocks are in state_kernels.cc.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ops/cc/failpoints/failpoints.h"
#include "ops/cc/kernels/table_set_op.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class RestoreOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  bool RunsInRestore() const override { return true; }
};

class BeginRestoreOp : public RestoreOp {
 public:
  explicit BeginRestoreOp(OpKernelConstruction* context) : RestoreOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tables", &tables_));
  }

 protected:
  absl::Status Run(OpKernelContext*, TableSetResource* set) override {
    TF_RETURN_IF_ERROR(FailAt("begin_restore.before"));
    set->tables().BeginRestore(tables_);
    // Rows go back in time, so the same requests may come again.
    set->requests().Forget();
    return FailAt("begin_restore.after");
  }

 private:
  std::vector<std::string> tables_;
};

class EndRestoreOp : public RestoreOp {
 public:
  explicit EndRestoreOp(OpKernelConstruction* context) : RestoreOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tables", &tables_));
    OP_REQUIRES_OK(context, context->GetAttr("generation", &generation_));
  }

 protected:
  absl::Status Run(OpKernelContext* context, TableSetResource* set) override {
    TF_RETURN_IF_ERROR(FailAt("end_restore.before"));
    const absl::StatusOr<std::vector<std::string>> found =
        set->tables().EndRestore(tables_, GenerationOf(generation_));
    TF_RETURN_IF_ERROR(found.status());
    Tensor* unrestored = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(
        "unrestored", TensorShape({static_cast<int64_t>(found->size())}),
        &unrestored));
    for (size_t i = 0; i < found->size(); ++i) {
      unrestored->vec<tensorflow::tstring>()(i) = (*found)[i];
    }
    return FailAt("end_restore.after");
  }

 private:
  std::vector<std::string> tables_;
  int64_t generation_;
};

class AbandonRestoreOp : public RestoreOp {
 public:
  explicit AbandonRestoreOp(OpKernelConstruction* context)
      : RestoreOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("generation", &generation_));
  }

 protected:
  absl::Status Run(OpKernelContext*, TableSetResource* set) override {
    set->tables().AbandonRestore(GenerationOf(generation_));
    set->requests().Forget();
    return absl::OkStatus();
  }

 private:
  int64_t generation_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithBeginRestore").Device(DEVICE_CPU),
                        BeginRestoreOp);
REGISTER_KERNEL_BUILDER(Name("MonolithEndRestore").Device(DEVICE_CPU),
                        EndRestoreOp);
REGISTER_KERNEL_BUILDER(Name("MonolithAbandonRestore").Device(DEVICE_CPU),
                        AbandonRestoreOp);

}  // namespace
}  // namespace monolith_tf
