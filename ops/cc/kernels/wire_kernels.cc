// Kernels that write floats as 16-bit words, and read them.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/features/wire_format.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/parallel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

// Floats a thread takes at once: some 10 us of work, in the cache.
constexpr int64_t kBlockFloats = 1 << 16;

constexpr int64_t kMaxExact = int64_t{1} << 40;

class WireOp : public tensorflow::OpKernel {
 public:
  explicit WireOp(OpKernelConstruction* context) : OpKernel(context) {
    std::string name;
    OP_REQUIRES_OK(context, context->GetAttr("format", &name));
    OP_REQUIRES_OK(context, WireFormat::Make(name, &format_));
    OP_REQUIRES_OK(context, context->GetAttr("num_exact", &num_exact_));
    // The bound keeps 2 * num_exact from overflowing.
    OP_REQUIRES(context, num_exact_ >= 0 && num_exact_ <= kMaxExact,
                absl::InvalidArgumentError(
                    absl::StrCat("num_exact must be from 0 to ", kMaxExact,
                                 ". Received: ", num_exact_, ".")));
  }

 protected:
  // Input `name`, a vector of at least `least` elements.
  absl::Status GetInput(OpKernelContext* context, const char* name,
                        int64_t least, const Tensor** input) const {
    TF_RETURN_IF_ERROR(GetVector(context, name, input));
    if ((*input)->NumElements() >= least) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        name, " must have at least ", least, " elements for ", num_exact_,
        " exact floats. Received: ", (*input)->NumElements(), "."));
  }

  WireFormat format_;
  int64_t num_exact_ = 0;
};

class NarrowOp : public WireOp {
 public:
  using WireOp::WireOp;

  void Compute(OpKernelContext* context) override {
    const Tensor* input = nullptr;
    OP_REQUIRES_OK(context, GetInput(context, "floats", num_exact_, &input));
    const int64_t n = input->NumElements();
    Tensor* output = nullptr;
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            "words", TensorShape({WireFormat::NumHalves(n, num_exact_)}),
            &output));
    const float* floats = input->flat<float>().data();
    uint16_t* words = output->flat<uint16_t>().data();
    WireFormat::SplitExact(floats, num_exact_, words);
    floats += num_exact_;
    words += 2 * num_exact_;
    ForEachBlock(context, n - num_exact_, kBlockFloats,
                 [&](int64_t begin, int64_t end) {
                   format_.Narrow(floats + begin, end - begin, words + begin);
                 });
  }
};

class WidenOp : public WireOp {
 public:
  using WireOp::WireOp;

  void Compute(OpKernelContext* context) override {
    const Tensor* input = nullptr;
    OP_REQUIRES_OK(context, GetInput(context, "words", 2 * num_exact_, &input));
    const int64_t n = input->NumElements() - num_exact_;
    Tensor* output = nullptr;
    OP_REQUIRES_OK(
        context, context->allocate_output("floats", TensorShape({n}), &output));
    const uint16_t* words = input->flat<uint16_t>().data();
    float* floats = output->flat<float>().data();
    WireFormat::JoinExact(words, num_exact_, floats);
    words += 2 * num_exact_;
    floats += num_exact_;
    ForEachBlock(context, n - num_exact_, kBlockFloats,
                 [&](int64_t begin, int64_t end) {
                   format_.Widen(words + begin, end - begin, floats + begin);
                 });
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithNarrow").Device(tensorflow::DEVICE_CPU),
                        NarrowOp);
REGISTER_KERNEL_BUILDER(Name("MonolithWiden").Device(tensorflow::DEVICE_CPU),
                        WidenOp);

}  // namespace
}  // namespace monolith_tf
