// The kernel that tells the numbers of tables.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_stats.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

// Numbers of all tables, or of the named ones.
class StatsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    const std::vector<std::string> names = resource->tables().TableNames();
    std::vector<TableStats> found;
    std::vector<std::string> found_names;
    for (const std::string& name : names) {
      auto table = resource->tables().Find(name);
      // Dropped meanwhile.
      if (!table.ok()) continue;
      found_names.push_back(name);
      found.push_back((*table)->stats());
    }
    const auto n = static_cast<int64_t>(found.size());
    constexpr int64_t kNumFields = sizeof(TableStats) / sizeof(int64_t);
    Tensor* tables = nullptr;
    Tensor* stats = nullptr;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, TensorShape({n}), &tables));
    OP_REQUIRES_OK(context, context->allocate_output(
                                1, TensorShape({n, kNumFields}), &stats));
    for (int64_t t = 0; t < n; ++t) {
      tables->vec<tensorflow::tstring>()(t) = found_names[t];
      std::memcpy(stats->flat<int64_t>().data() + t * kNumFields, &found[t],
                  sizeof(TableStats));
    }
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithStats").Device(DEVICE_CPU), StatsOp);

}  // namespace
}  // namespace monolith_tf
