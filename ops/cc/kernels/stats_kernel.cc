// The kernel that returns the statistics of a server's tables.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/kernels/table_set_op.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_stats.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class StatsOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status Run(OpKernelContext* context, TableSetResource* set) override {
    std::vector<TableStats> found;
    std::vector<std::string> found_names;
    for (const std::string& name : set->tables().TableNames()) {
      auto table = set->tables().Find(name);
      if (!table.ok()) continue;  // It was dropped meanwhile.
      found_names.push_back(name);
      found.push_back((*table)->stats());
    }
    const auto n = static_cast<int64_t>(found.size());
    constexpr int64_t kNumFields = sizeof(TableStats) / sizeof(int64_t);
    Tensor* tables = nullptr;
    Tensor* stats = nullptr;
    TF_RETURN_IF_ERROR(
        context->allocate_output("tables", TensorShape({n}), &tables));
    TF_RETURN_IF_ERROR(context->allocate_output(
        "stats", TensorShape({n, kNumFields}), &stats));
    for (int64_t t = 0; t < n; ++t) {
      tables->vec<tensorflow::tstring>()(t) = found_names[t];
      std::memcpy(stats->flat<int64_t>().data() + t * kNumFields, &found[t],
                  sizeof(TableStats));
    }
    return absl::OkStatus();
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithStats").Device(DEVICE_CPU), StatsOp);

}  // namespace
}  // namespace monolith_tf
