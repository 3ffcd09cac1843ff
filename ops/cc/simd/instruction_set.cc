#include "ops/cc/simd/instruction_set.h"

namespace monolith_tf {

InstructionSet WidestInstructionSet() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return InstructionSet::kAvx512;
  if (__builtin_cpu_supports("avx2")) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kPortable;
}

}  // namespace monolith_tf
