#include <algorithm>
#include <cstdint>
#include <memory>

#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/optimizer/optimizer_families.h"

namespace monolith_tf {
namespace {

constexpr int64_t kHalf = int64_t{1} << 24;
constexpr int64_t kMaxStep = kHalf * kHalf - 1;

// A half of a step from its float, which may be any that was imported.
int64_t Half(float half) {
  return half >= 0 && half < kHalf ? static_cast<int64_t>(half) : 0;
}

// Yi et al.: Sampling-bias-corrected neural modeling for large corpus item
// recommendations, RecSys 2019, algorithm 2: the row estimates how many steps
// lie between two occurrences of its id, at step t by
//   B = (1 - rate) * B + rate * (t - A)
//   A = t
// B is each of the weights (one is enough), the gradient is ignored. A is kept
// exactly, as the upper and the lower 24 bits of a step, each in a float.
class BatchSoftmax : public Optimizer {
 public:
  int64_t slot_floats(int64_t) const override { return 2; }

  void InitializeSlots(int64_t, const float*, float* slots) const override {
    std::fill_n(slots, 2, 0.0f);
  }

  Step Prepare(float learning_rate, int64_t global_step) const override {
    Step step;
    step.learning_rate = learning_rate;
    step.global_step = std::min(global_step, kMaxStep);
    return step;
  }

  void Apply(const Step& step, int64_t dim, int n, float* const* weights,
             float* const* slots, const float* const*) const override {
    const float rate = step.learning_rate;
    for (int i = 0; i < n; ++i) {
      float* last = slots[i];
      const int64_t last_step = Half(last[0]) * kHalf + Half(last[1]);
      // A row may have been saved at a later step than training went on from.
      const int64_t interval =
          std::max<int64_t>(step.global_step - last_step, 0);
      const float sample = static_cast<float>(interval);
      for (int64_t j = 0; j < dim; ++j) {
        weights[i][j] = (1.0f - rate) * weights[i][j] + rate * sample;
      }
      last[0] = static_cast<float>(step.global_step / kHalf);
      last[1] = static_cast<float>(step.global_step % kHalf);
    }
  }
};

}  // namespace

OptimizerPtr MakeBatchSoftmax() { return std::make_unique<BatchSoftmax>(); }

}  // namespace monolith_tf
