// instruction_set.h
//
// What SIMD instructions a loop may use, chosen once at run time. No loop may
// give other bits in one set than in another: each float is worked out alone
// or in a fixed order, with correctly rounded operations, and nothing is
// contracted to fused multiply-adds (-ffp-contract=off).

#ifndef MONOLITH_TF_OPS_CC_SIMD_INSTRUCTION_SET_H_
#define MONOLITH_TF_OPS_CC_SIMD_INSTRUCTION_SET_H_

namespace monolith_tf {

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

// The widest that this machine has.
InstructionSet WidestInstructionSet();

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_SIMD_INSTRUCTION_SET_H_
