// optimizer_families.h
//
// The variants of Optimizer, for MakeOptimizer. Hyperparameters must be valid.

#ifndef MONOLITH_TF_OPS_CC_TABLE_OPTIMIZER_FAMILIES_H_
#define MONOLITH_TF_OPS_CC_TABLE_OPTIMIZER_FAMILIES_H_

#include <memory>

#include "ops/cc/table/optimizer.h"

namespace monolith_tf {

using OptimizerPtr = std::unique_ptr<const Optimizer>;

OptimizerPtr MakeSgd();
OptimizerPtr MakeAdagrad(float initial_accumulator, float epsilon);
OptimizerPtr MakeAdam(float beta_1, float beta_2, float epsilon);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_OPTIMIZER_FAMILIES_H_
