#include <cstdint>
#include <memory>

#include "ops/cc/precision/precision.h"
#include "ops/cc/precision/precision_loops.h"

namespace monolith_tf {
namespace {

// bfloat16 and float16.
class Half : public Precision {
 public:
  explicit Half(const PrecisionLoops& loops) : loops_(loops) {}

  int64_t bytes(int64_t dim) const override { return 2 * dim; }

  void Decode(const char* stored, int64_t dim, float* weights) const override {
    loops_.decode(stored, dim, 0.0f, weights);
  }

  void Encode(const float* weights, int64_t dim, uint64_t key,
              char* stored) const override {
    loops_.encode(weights, dim, key, 0.0f, stored);
  }

 private:
  const PrecisionLoops loops_;
};

}  // namespace

std::unique_ptr<const Precision> MakeBfloat16() {
  return std::make_unique<Half>(Bfloat16LoopsIn(WidestInstructionSet()));
}

std::unique_ptr<const Precision> MakeFloat16() {
  return std::make_unique<Half>(Float16LoopsIn(WidestInstructionSet()));
}

}  // namespace monolith_tf
