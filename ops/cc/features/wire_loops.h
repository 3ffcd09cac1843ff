// wire_loops.h
//
// Rounds floats to 16 bits for the wire between a worker and a server, per
// instruction set. All return the same bits on every machine
// (instruction_set.h). precision_loops.h has the way back, which is exact.

#ifndef MONOLITH_TF_OPS_CC_FEATURES_WIRE_LOOPS_H_
#define MONOLITH_TF_OPS_CC_FEATURES_WIRE_LOOPS_H_

#include <stdint.h>

#include "ops/cc/simd/instruction_set.h"

namespace monolith_tf {

// Rounds floats [n] to the nearest that 16 bits hold, ties to an even last bit.
// A finite float that is too large becomes the largest finite one; infinities
// stay; NaN becomes one fixed NaN of its sign.
using NarrowLoop = void (*)(const float* floats, int64_t n, uint16_t* halves);

// The loops in `set`, which the machine must have.
NarrowLoop NarrowToBfloat16In(InstructionSet set);
NarrowLoop NarrowToFloat16In(InstructionSet set);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_FEATURES_WIRE_LOOPS_H_
