#include <algorithm>
#include <cstdint>
#include <memory>

#include "ops/cc/table/optimizer.h"
#include "ops/cc/table/row_loops.h"

namespace monolith_tf {
namespace {

// As tf_keras.optimizers.Adagrad:
//   accumulator += g^2
//   weights -= rate * g / sqrt(accumulator + epsilon)
class Adagrad : public Optimizer {
 public:
  Adagrad(float initial_accumulator, float epsilon)
      : initial_accumulator_(initial_accumulator), epsilon_(epsilon) {}

  int num_slots() const override { return 1; }

  void InitializeSlots(int64_t dim, float* slots) const override {
    std::fill_n(slots, dim, initial_accumulator_);
  }

  Step Prepare(float learning_rate, int64_t) const override {
    return {learning_rate, learning_rate};
  }

  void Apply(const Step& step, int64_t dim, int n, float* const* rows,
             const float* const* gradients) const override {
    loop_(dim, n, rows, gradients, step.learning_rate, epsilon_);
  }

 private:
  const float initial_accumulator_;
  const float epsilon_;
  const AdagradLoop loop_ = AdagradLoopIn(WidestInstructionSet());
};

}  // namespace

std::unique_ptr<const Optimizer> MakeAdagrad(float initial_accumulator,
                                             float epsilon) {
  return std::make_unique<Adagrad>(initial_accumulator, epsilon);
}

}  // namespace monolith_tf
