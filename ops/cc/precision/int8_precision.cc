#include <cstdint>
#include <memory>

#include "ops/cc/precision/precision.h"
#include "ops/cc/precision/precision_loops.h"
#include "ops/cc/precision/straight_through.h"

namespace monolith_tf {
namespace {

// Level k of -127 .. 127 is the weight k * (range / 127).
class Int8 : public Precision {
 public:
  explicit Int8(float range) : step_(range / 127) {}

  int64_t bytes(int64_t dim) const override { return (dim + 1) / 2 * 2; }

  void Decode(const char* stored, int64_t dim, float* weights) const override {
    loops_.decode(stored, dim, step_, weights);
  }

  void Encode(const float* weights, int64_t dim, uint64_t key,
              char* stored) const override {
    loops_.encode(weights, dim, key, step_, stored);
    // Equal rows have equal bytes.
    if (dim % 2 != 0) stored[dim] = 0;
  }

  void Backward(const float* weights, int64_t dim, int64_t,
                float* gradient) const override {
    StopAtLimit(weights, dim, 127 * step_, gradient);
  }

  bool has_forward() const override { return true; }

 private:
  const float step_;
  const PrecisionLoops loops_ = Int8LoopsIn(WidestInstructionSet());
};

}  // namespace

std::unique_ptr<const Precision> MakeInt8(float range) {
  return std::make_unique<Int8>(range);
}

}  // namespace monolith_tf
