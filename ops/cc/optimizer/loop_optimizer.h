// loop_optimizer.h: the base of most row optimizers.

#ifndef MONOLITH_TF_OPS_CC_OPTIMIZER_LOOP_OPTIMIZER_H_
#define MONOLITH_TF_OPS_CC_OPTIMIZER_LOOP_OPTIMIZER_H_

#include <cstdint>
#include <vector>

#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {

// An optimizer whose step is one RowLoop. Its slots are vectors [dim]
// that start at one value each. The scalars of the loop are the learning rate,
// then constants, unless a derived class prepares others.
class LoopOptimizer : public Optimizer {
 public:
  // The loop of a rule in an instruction set, as in row_loops.h.
  using LoopMaker = RowLoop (*)(InstructionSet);

  LoopOptimizer(LoopMaker loop, std::vector<float> initial_slots,
                std::vector<float> constants);

  int64_t slot_floats(int64_t dim) const override;
  void InitializeSlots(int64_t dim, const float* weights,
                       float* slots) const override;
  Step Prepare(float learning_rate, int64_t global_step) const override;
  void Apply(const Step& step, int64_t dim, int n, float* const* weights,
             float* const* slots, const float* const* gradients) const override;

 private:
  const RowLoop loop_;
  const std::vector<float> initial_slots_;
  const std::vector<float> constants_;
};

// Returns 1 - number as tf_keras computes it: subtracts the decimal that the
// user wrote in double, then rounds. From the float 0.999f, the result would be
// off by 1.3e-5, which shows after 200 steps. The user's decimal is the
// shortest one that reads as the same float.
float Complement(float number);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_OPTIMIZER_LOOP_OPTIMIZER_H_
