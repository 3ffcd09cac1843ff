// optimizer.h
//
// A row optimizer steps single rows in place, exactly as the tf_keras
// optimizer of the same name would step a dense variable made of just those
// rows. Slots lie behind the weights: row = [weights | slot 0 | slot 1 ...],
// each [dim].

#ifndef MONOLITH_TF_OPS_CC_TABLE_OPTIMIZER_H_
#define MONOLITH_TF_OPS_CC_TABLE_OPTIMIZER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "ops/cc/table/table_config.h"

namespace monolith_tf {

// Immutable, so safe from any thread.
class Optimizer {
 public:
  // What one request computes once: see Prepare.
  struct Step {
    float learning_rate;
    // Adam: the learning rate with bias correction.
    float corrected_rate;
  };

  virtual ~Optimizer() = default;

  virtual int num_slots() const = 0;

  // Writes the slots [num_slots, dim] of a new row.
  virtual void InitializeSlots(int64_t dim, float* slots) const = 0;

  // `global_step` >= 1.
  virtual Step Prepare(float learning_rate, int64_t global_step) const = 0;

  // Steps rows [n] with gradients [n], each of them [dim]; in order, so a
  // row may come more than once.
  virtual void Apply(const Step& step, int64_t dim, int n, float* const* rows,
                     const float* const* gradients) const = 0;
};

// InvalidArgument for an unknown kind, a wrong number of hyperparameters, or
// one out of range.
absl::StatusOr<std::unique_ptr<const Optimizer>> MakeOptimizer(
    const OptimizerConfig& config);

// The variants, for MakeOptimizer. Hyperparameters must be valid.
std::unique_ptr<const Optimizer> MakeSgd();
std::unique_ptr<const Optimizer> MakeAdagrad(float initial_accumulator,
                                             float epsilon);
std::unique_ptr<const Optimizer> MakeAdam(float beta_1, float beta_2,
                                          float epsilon);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_OPTIMIZER_H_
