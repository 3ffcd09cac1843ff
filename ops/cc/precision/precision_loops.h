// precision_loops.h
//
// The inner loops of the precisions, per instruction set (instruction_set.h).
// All return the same bits on every machine, also where the processor treats
// subnormal floats as zero: numbers are rounded as integers.

#ifndef MONOLITH_TF_OPS_CC_PRECISION_PRECISION_LOOPS_H_
#define MONOLITH_TF_OPS_CC_PRECISION_PRECISION_LOOPS_H_

#include <stdint.h>

#include "ops/cc/simd/instruction_set.h"

namespace monolith_tf {

// Writes the weights [dim] of `stored`, which may start at any multiple of 2.
// Only int8 has a step.
using DecodeLoop = void (*)(const char* stored, int64_t dim, float step,
                            float* weights);

// Stores weights [dim], each rounded by ElementBits(key, j) (hash.h): bfloat16
// by the highest 16 bits, float16 by the lower end of the highest 32, int8 by
// the highest 24.
using EncodeLoop = void (*)(const float* weights, int64_t dim, uint64_t key,
                            float step, char* stored);

struct PrecisionLoops {
  DecodeLoop decode;
  EncodeLoop encode;
};

// The loops in `set`, which the machine must have.
PrecisionLoops Bfloat16LoopsIn(InstructionSet set);
PrecisionLoops Float16LoopsIn(InstructionSet set);
PrecisionLoops Int8LoopsIn(InstructionSet set);

// out[j] = height * tanh(slope * weights[j]), and
// out[j] *= height * slope * (1 - tanh(slope * weights[j])^2). Computed in
// double with + - * / and rounded once; relative error of the tanh at most
// 1e-7. `out` may be `weights`.
using TanhLoop = void (*)(const float* weights, int64_t dim, double slope,
                          float height, float* out);
TanhLoop TanhLoopIn(InstructionSet set);
TanhLoop TanhGradientLoopIn(InstructionSet set);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_PRECISION_PRECISION_LOOPS_H_
