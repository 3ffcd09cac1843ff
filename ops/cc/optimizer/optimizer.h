// optimizer.h
//
// A row optimizer steps single rows in place, exactly as the tf_keras optimizer
// of the same name steps a dense variable of just those rows. Its state per row
// are slots, floats after the weights:
//
//   weights [dim] ... slots [slot_floats(dim)], usually [dim] per slot

#ifndef MONOLITH_TF_OPS_CC_OPTIMIZER_OPTIMIZER_H_
#define MONOLITH_TF_OPS_CC_OPTIMIZER_OPTIMIZER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "ops/cc/config/table_config.h"

namespace monolith_tf {

// Immutable, so safe from any thread.
class Optimizer {
 public:
  // Numbers that a request computes once: see Prepare.
  struct Step {
    float learning_rate = 0.0f;
    int64_t global_step = 0;
    // Private to the optimizer.
    float scalars[6] = {};
  };

  virtual ~Optimizer() = default;

  // Floats of state after `dim` weights.
  virtual int64_t slot_floats(int64_t dim) const = 0;

  // Writes the slots [slot_floats] of a new row with these weights [dim].
  virtual void InitializeSlots(int64_t dim, const float* weights,
                               float* slots) const = 0;

  // `global_step` >= 1.
  virtual Step Prepare(float learning_rate, int64_t global_step) const = 0;

  // Steps n rows, n <= 64: weights [n], slots [n] and gradients [n] point at
  // [dim], [slot_floats] and [dim] of each. In order, so a row may be
  // repeated. Gradients must be finite: see FiniteAndBounded.
  virtual void Apply(const Step& step, int64_t dim, int n,
                     float* const* weights, float* const* slots,
                     const float* const* gradients) const = 0;
};

// InvalidArgument for an unknown kind, a wrong number of hyperparameters, or
// one out of range.
absl::StatusOr<std::unique_ptr<const Optimizer>> MakeOptimizer(
    const OptimizerConfig& config);

// The largest absolute value of a gradient that is applied.
inline constexpr float kMaxGradient = 0x1p48f;

// Whether each of n floats is finite and at most 2^48 in absolute value. Then
// the square of such a gradient, and the sum of the squares of a row, are
// finite too.
bool FiniteAndBounded(const float* gradient, int64_t n);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_OPTIMIZER_OPTIMIZER_H_
