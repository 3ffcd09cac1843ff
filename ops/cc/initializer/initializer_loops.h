// initializer_loops.h
//
// The inner loops of the random initializers, per instruction set
// (instruction_set.h). All return the bits that docs/formats.md specifies: they
// use integers, and + - * / on doubles and floats, each operation rounded
// separately.

#ifndef MONOLITH_TF_OPS_CC_INITIALIZER_INITIALIZER_LOOPS_H_
#define MONOLITH_TF_OPS_CC_INITIALIZER_INITIALIZER_LOOPS_H_

#include <stdint.h>

#include "ops/cc/simd/instruction_set.h"

namespace monolith_tf {

// Writes row [dim]: location + scale * x, where x of element j is drawn from
// ElementBits(id_key, first_element + j) (hash.h).
using FillLoop = void (*)(uint64_t id_key, int64_t first_element, int64_t dim,
                          float location, float scale, float* row);

// The loop in `set`, which the machine must have. x is uniform in [0, 1),
// normal, or normal and truncated at two deviations.
FillLoop UniformLoopIn(InstructionSet set);
FillLoop NormalLoopIn(InstructionSet set);
FillLoop TruncatedNormalLoopIn(InstructionSet set);

// The quantile of the normal distribution at 0.5 + q, 0 < 0.5 + q < 1; relative
// error at most 5e-9 where 0.5 - |q| >= 2^-53.
double NormalQuantile(double q);

// The probability between two deviations below and above the mean.
inline constexpr double kTwoDeviationsProbability = 0.95449973610364158;

// The same quantile for |q| <= kTwoDeviationsProbability / 2; absolute error at
// most 1.2e-8.
double MiddleNormalQuantile(double q);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_INITIALIZER_INITIALIZER_LOOPS_H_
