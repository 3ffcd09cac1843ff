// row_loops.h
//
// The inner loops of the row optimizers: one for each update rule, in the
// instruction set asked for (which the machine must have).

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_LOOPS_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_LOOPS_H_

#include <stdint.h>

#include "ops/cc/table/instruction_set.h"

namespace monolith_tf {

// Steps n rows in order: weights [n], slots [n] and gradients [n] point at
// the floats of each row. `scalars` are the numbers that the rule names, in
// that order.
using RowLoop = void (*)(int64_t dim, int n, float* const* weights,
                         float* const* slots, const float* const* gradients,
                         const float* scalars);

// Scalars {rate}.
RowLoop SgdLoop(InstructionSet set);

// Slots {accumulator}, scalars {rate, epsilon}.
RowLoop AdagradLoop(InstructionSet set);

// Slots {m, v}, scalars {alpha, epsilon, 1 - beta_1, 1 - beta_2}.
RowLoop AdamLoop(InstructionSet set);

// Tells whether each of n floats is finite and at most 2^48 in size.
using BoundedLoop = bool (*)(int64_t n, const float* floats);
BoundedLoop FiniteAndBoundedLoop(InstructionSet set);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_LOOPS_H_
