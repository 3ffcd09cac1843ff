// Kernels that tell what a server has taken, and where a worker's time went.

#include <cstdint>

#include "ops/cc/kernels/request_log.h"
#include "ops/cc/kernels/server_counters.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/kernels/worker_counters.h"
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

class ServerCountersOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(tensorflow::OpKernelContext* context) override {
    const ServerCounters& counters = ServerCounters::Get();
    tensorflow::Tensor* out = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, tensorflow::TensorShape({2, 5}), &out));
    int64_t* number = out->flat<int64_t>().data();
    for (const CallCounters* of : {&counters.lookup, &counters.apply}) {
      *number++ = of->calls;
      *number++ = of->ids;
      *number++ = of->bytes;
      *number++ = of->nanoseconds;
      *number++ = of->running;
    }
  }
};

class WorkerCountersOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(tensorflow::OpKernelContext* context) override {
    const WorkerCounters::Totals totals = WorkerCounters::Get().totals();
    tensorflow::Tensor* out = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, tensorflow::TensorShape({4}), &out));
    out->vec<int64_t>()(0) = totals.lookups;
    out->vec<int64_t>()(1) = totals.lookup_nanoseconds;
    out->vec<int64_t>()(2) = totals.steps;
    out->vec<int64_t>()(3) = totals.dense_nanoseconds;
  }
};

REGISTER_KERNEL_BUILDER(
    Name("MonolithWorkerCounters").Device(tensorflow::DEVICE_CPU),
    WorkerCountersOp);
REGISTER_KERNEL_BUILDER(
    Name("MonolithServerCounters").Device(tensorflow::DEVICE_CPU),
    ServerCountersOp);
REGISTER_KERNEL_BUILDER(
    Name("MonolithRequestCounts").Device(tensorflow::DEVICE_CPU),
    RequestCountsOp);

}  // namespace
}  // namespace monolith_tf
