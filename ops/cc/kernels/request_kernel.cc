// The kernel that tells how many updates a server has taken.

#include <cstdint>

#include "ops/cc/kernels/request_log.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

class RequestCountsOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(tensorflow::OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    const RequestLog::Counts counts = resource->requests().counts();
    tensorflow::Tensor* out = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, tensorflow::TensorShape({2}), &out));
    out->vec<int64_t>()(0) = counts.applied;
    out->vec<int64_t>()(1) = counts.repeated;
  }
};

REGISTER_KERNEL_BUILDER(
    Name("MonolithRequestCounts").Device(tensorflow::DEVICE_CPU),
    RequestCountsOp);

}  // namespace
}  // namespace monolith_tf
