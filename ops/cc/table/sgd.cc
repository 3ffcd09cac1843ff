#include <cstdint>
#include <memory>

#include "ops/cc/table/optimizer.h"

namespace monolith_tf {
namespace {

class Sgd : public Optimizer {
 public:
  int num_slots() const override { return 0; }

  void InitializeSlots(int64_t, float*) const override {}

  Step Prepare(float learning_rate, int64_t) const override {
    return {learning_rate, learning_rate};
  }

  void Apply(const Step& step, int64_t dim, int n, float* const* rows,
             const float* const* gradients) const override {
    const float rate = step.learning_rate;
    for (int i = 0; i < n; ++i) {
      float* __restrict weights = rows[i];
      const float* __restrict gradient = gradients[i];
      for (int64_t j = 0; j < dim; ++j) weights[j] -= rate * gradient[j];
    }
  }
};

}  // namespace

std::unique_ptr<const Optimizer> MakeSgd() { return std::make_unique<Sgd>(); }

}  // namespace monolith_tf
