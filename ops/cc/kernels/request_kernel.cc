// Kernels that return counters of a server's requests and a worker's steps.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/server_counters.h"
#include "ops/cc/kernels/table_set_op.h"
#include "ops/cc/kernels/worker_counters.h"
#include "ops/cc/table/request_log.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class RequestCountsOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status Run(OpKernelContext* context, TableSetResource* set) override {
    const RequestLog::Counts counts = set->requests().counts();
    const int64_t numbers[] = {counts.applied, counts.repeated, counts.refused};
    return CopyOut(context, "counts", TensorShape({3}), numbers);
  }
};

class ExportRequestsOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  absl::Status Run(OpKernelContext* context, TableSetResource* set) override {
    const std::vector<int64_t> marks = set->requests().Export();
    return CopyOut(context, "marks",
                   TensorShape({static_cast<int64_t>(marks.size())}),
                   marks.data());
  }
};

class ImportRequestsOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status Run(OpKernelContext* context, TableSetResource* set) override {
    const Tensor* marks = nullptr;
    TF_RETURN_IF_ERROR(GetVector(context, "marks", &marks));
    const int64_t* const numbers = marks->flat<int64_t>().data();
    return set->requests().Import(
        std::vector<int64_t>(numbers, numbers + marks->NumElements()));
  }
};

class ServerCountersOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const ServerCounters& counters = ServerCounters::Get();
    std::vector<int64_t> numbers;
    for (const CallCounters* of : {&counters.lookup, &counters.apply}) {
      numbers.insert(numbers.end(), {of->calls, of->ids, of->bytes,
                                     of->nanoseconds, of->running});
    }
    OP_REQUIRES_OK(context, CopyOut(context, "counters", TensorShape({2, 5}),
                                    numbers.data()));
  }
};

class WorkerCountersOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const WorkerCounters::Totals totals = WorkerCounters::Get().totals();
    const int64_t numbers[] = {totals.lookups, totals.lookup_nanoseconds,
                               totals.steps, totals.dense_nanoseconds};
    OP_REQUIRES_OK(context,
                   CopyOut(context, "counters", TensorShape({4}), numbers));
  }
};

REGISTER_KERNEL_BUILDER(
    Name("MonolithWorkerCounters").Device(tensorflow::DEVICE_CPU),
    WorkerCountersOp);
REGISTER_KERNEL_BUILDER(
    Name("MonolithServerCounters").Device(tensorflow::DEVICE_CPU),
    ServerCountersOp);
REGISTER_KERNEL_BUILDER(
    Name("MonolithExportRequests").Device(tensorflow::DEVICE_CPU),
    ExportRequestsOp);
REGISTER_KERNEL_BUILDER(
    Name("MonolithImportRequests").Device(tensorflow::DEVICE_CPU),
    ImportRequestsOp);
REGISTER_KERNEL_BUILDER(
    Name("MonolithRequestCounts").Device(tensorflow::DEVICE_CPU),
    RequestCountsOp);

}  // namespace
}  // namespace monolith_tf
