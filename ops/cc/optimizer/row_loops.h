// row_loops.h
//
// The inner loops of the row optimizers: one per update rule and instruction
// set, which the machine must have. The equations are in the files of the
// optimizers: sgd.cc, adagrad.cc, ...

#ifndef MONOLITH_TF_OPS_CC_OPTIMIZER_ROW_LOOPS_H_
#define MONOLITH_TF_OPS_CC_OPTIMIZER_ROW_LOOPS_H_

#include <stdint.h>

#include "ops/cc/simd/instruction_set.h"
#include "ops/cc/simd/row_loop.h"

namespace monolith_tf {

// Scalars {rate}.
RowLoop SgdLoop(InstructionSet set);

// Slots {momentum}, scalars {rate, momentum}.
RowLoop MomentumLoop(InstructionSet set);
RowLoop NesterovLoop(InstructionSet set);

// Slots {backup}, scalars {rate, lambda}.
RowLoop DelayCompensatedSgdLoop(InstructionSet set);

// No slots, scalars {not used, momentum, 1 - momentum}.
RowLoop MovingAverageLoop(InstructionSet set);

// Slots {accumulator}, scalars {rate, epsilon}.
RowLoop AdagradLoop(InstructionSet set);

// One float as slot, scalars {rate, epsilon}.
RowLoop RowWiseAdagradLoop(InstructionSet set);

// Slots {accumulator, backup}, scalars {rate, epsilon, lambda}.
RowLoop DelayCompensatedAdagradLoop(InstructionSet set);

// Slots {accumulated_grad, accumulated_delta_var}, scalars {rate, epsilon, rho,
// 1 - rho}.
RowLoop AdadeltaLoop(InstructionSet set);

// Slots {velocity, [momentum], [average_gradient]}, scalars {rate, epsilon,
// rho, 1 - rho, momentum}.
RowLoop RmspropLoop(InstructionSet set);
RowLoop MomentumRmspropLoop(InstructionSet set);
RowLoop CenteredRmspropLoop(InstructionSet set);
RowLoop CenteredMomentumRmspropLoop(InstructionSet set);

// Slots {m, v, [v_hat]}, scalars {alpha, epsilon, 1 - beta_1, 1 - beta_2}.
RowLoop AdamLoop(InstructionSet set);
RowLoop AmsgradLoop(InstructionSet set);

// Slots {accumulator, linear}, scalars {rate, l1, 2 * l2 + beta / rate,
// 2 * l2_shrinkage}.
RowLoop FtrlLoop(InstructionSet set);

// Slots {accumulator}, scalars {rate, epsilon, l1, 2 * l2, l21}.
RowLoop GroupAdagradLoop(InstructionSet set);

// Slots {accumulator, linear}, scalars {rate, l1, 2 * l2 + beta / rate, l21}.
RowLoop GroupFtrlLoop(InstructionSet set);

// Regularization before a step: writes the gradients to step with to `slots`,
// and decays the weights. Scalars {rate, weight_decay, 2 * l2, clip_value}.
RowLoop RegularizeLoop(InstructionSet set);

// Scales each of `weights` (here: the gradients) to a norm of at most
// scalars[0], and each row to one of at most scalars[0]. `slots` and
// `gradients` must not be null, but are not read.
RowLoop ClipNormLoop(InstructionSet set);
RowLoop MaxNormLoop(InstructionSet set);

// Whether each of n floats is finite and at most 2^48 in absolute value.
using BoundedLoop = bool (*)(int64_t n, const float* floats);
BoundedLoop FiniteAndBoundedLoop(InstructionSet set);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_OPTIMIZER_ROW_LOOPS_H_
