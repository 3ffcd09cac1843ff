// instruction_set.h
//
// The SIMD instructions that a loop may use, chosen once at run time. Every
// loop returns the same bits in every set: it computes each float alone or in a
// fixed order, with correctly rounded operations, and without fused
// multiply-adds (-ffp-contract=off).

#ifndef MONOLITH_TF_OPS_CC_SIMD_INSTRUCTION_SET_H_
#define MONOLITH_TF_OPS_CC_SIMD_INSTRUCTION_SET_H_

namespace monolith_tf {

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

// Returns the widest set of this machine.
InstructionSet WidestInstructionSet();

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_SIMD_INSTRUCTION_SET_H_
