// The kernel by which a server that is to stop tells the chief, and the chief
// tells it that its state is saved.

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/kernels/drain_state.h"
#include "ops/cc/kernels/inputs.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelContext;

class DrainOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    int64_t wanted = 0;
    OP_REQUIRES_OK(context, GetScalar(context, "wanted", &wanted));
    OP_REQUIRES(
        context,
        wanted >= DrainState::kServing && wanted <= DrainState::kDrained,
        absl::InvalidArgumentError(absl::StrCat(
            "wanted must be from 0 to 2. Received: ", wanted, ".")));
    OP_REQUIRES_OK(context, SetScalar(context, "state",
                                      DrainState::OfProcess().Raise(wanted)));
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithDrain").Device(DEVICE_CPU), DrainOp);

}  // namespace
}  // namespace monolith_tf
