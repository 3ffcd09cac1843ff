#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "ops/cc/table/optimizer.h"
#include "ops/cc/table/row_loops.h"

namespace monolith_tf {
namespace {

// 1 - beta as tf_keras has it: the subtraction in double of the decimal that
// the user wrote, then rounded. From the float 0.999f it would be off by
// 1.3e-5, which 200 steps show. The user's decimal is the shortest one that
// reads as the same float.
float Complement(float beta) {
  char text[32];
  for (int digits = 6; digits <= 9; ++digits) {
    std::snprintf(text, sizeof(text), "%.*g", digits, beta);
    if (std::strtof(text, nullptr) == beta) break;
  }
  return static_cast<float>(1.0 - std::strtod(text, nullptr));
}

// As tf_keras.optimizers.Adam, with t the global step:
//   m += (g - m) * (1 - beta_1)
//   v += (g^2 - v) * (1 - beta_2)
//   weights -= m * alpha / (sqrt(v) + epsilon)
//   alpha = rate * sqrt(1 - beta_2^t) / (1 - beta_1^t)
class Adam : public Optimizer {
 public:
  Adam(float beta_1, float beta_2, float epsilon)
      : beta_1_(beta_1),
        beta_2_(beta_2),
        epsilon_(epsilon),
        complement_1_(Complement(beta_1)),
        complement_2_(Complement(beta_2)) {}

  int num_slots() const override { return 2; }

  void InitializeSlots(int64_t dim, float* slots) const override {
    std::fill_n(slots, 2 * dim, 0.0f);
  }

  Step Prepare(float learning_rate, int64_t global_step) const override {
    // In float32 as there: the first steps show the rounding.
    const float t = static_cast<float>(global_step);
    const float correction_1 = 1.0f - std::pow(beta_1_, t);
    const float correction_2 = 1.0f - std::pow(beta_2_, t);
    return {learning_rate,
            learning_rate * std::sqrt(correction_2) / correction_1};
  }

  void Apply(const Step& step, int64_t dim, int n, float* const* rows,
             const float* const* gradients) const override {
    loop_(dim, n, rows, gradients, step.corrected_rate, complement_1_,
          complement_2_, epsilon_);
  }

 private:
  const float beta_1_;
  const float beta_2_;
  const float epsilon_;
  const float complement_1_;
  const float complement_2_;
  const AdamLoop loop_ = AdamLoopIn(WidestInstructionSet());
};

}  // namespace

std::unique_ptr<const Optimizer> MakeAdam(float beta_1, float beta_2,
                                          float epsilon) {
  return std::make_unique<Adam>(beta_1, beta_2, epsilon);
}

}  // namespace monolith_tf
