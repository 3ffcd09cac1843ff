// row_loops.h
//
// The inner loops of the row optimizers, in the widest instructions that the
// machine has, chosen once at run time: AVX-512, AVX2 or what every machine
// has. All give the same bits: each float is worked out alone, with correctly
// rounded operations, and nothing is contracted to fused multiply-adds
// (-ffp-contract=off).
//
// row_loops.cc is the one file with code for machines that may not be there. It
// includes nothing that has inline functions, so none can be compiled for such
// a machine and then be linked for all.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_LOOPS_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_LOOPS_H_

#include <stdint.h>

namespace monolith_tf {

// Steps rows [n] = [weights | accumulator], each [dim], with gradients [n].
using AdagradLoop = void (*)(int64_t dim, int n, float* const* rows,
                             const float* const* gradients, float rate,
                             float epsilon);

// Steps rows [n] = [weights | m | v], each [dim], with gradients [n].
using AdamLoop = void (*)(int64_t dim, int n, float* const* rows,
                          const float* const* gradients, float alpha,
                          float complement_1, float complement_2,
                          float epsilon);

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

// The widest that this machine has.
InstructionSet WidestInstructionSet();

// The loop in `set`, which the machine must have.
AdagradLoop AdagradLoopIn(InstructionSet set);
AdamLoop AdamLoopIn(InstructionSet set);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_LOOPS_H_
