// optimizer_families.h
//
// The variants of Optimizer, for MakeOptimizer. Hyperparameters must be valid.
// The equations are in the files of the families.

#ifndef MONOLITH_TF_OPS_CC_OPTIMIZER_OPTIMIZER_FAMILIES_H_
#define MONOLITH_TF_OPS_CC_OPTIMIZER_OPTIMIZER_FAMILIES_H_

#include <memory>

#include "ops/cc/config/table_config.h"
#include "ops/cc/optimizer/optimizer.h"

namespace monolith_tf {

using OptimizerPtr = std::unique_ptr<const Optimizer>;

// sgd.cc
OptimizerPtr MakeSgd(float momentum, bool nesterov);
OptimizerPtr MakeMovingAverage(float momentum);

// delay_compensated.cc
OptimizerPtr MakeDelayCompensatedSgd(float variance_control);
OptimizerPtr MakeDelayCompensatedAdagrad(float variance_control,
                                         float initial_accumulator,
                                         float epsilon);

// adagrad.cc
OptimizerPtr MakeAdagrad(float initial_accumulator, float epsilon);
OptimizerPtr MakeRowWiseAdagrad(float initial_accumulator, float epsilon);
OptimizerPtr MakeAdadelta(float rho, float epsilon);

// rmsprop.cc
OptimizerPtr MakeRmsprop(float rho, float momentum, float epsilon,
                         bool centered);

// adam.cc
OptimizerPtr MakeAdam(float beta_1, float beta_2, float epsilon, bool amsgrad,
                      bool per_row_step);

// ftrl.cc
struct FtrlParameters {
  float learning_rate_power;
  float initial_accumulator;
  float l1;
  float l2;
  float l2_shrinkage;
  float beta;
};
OptimizerPtr MakeFtrl(const FtrlParameters& parameters);

// group_lasso.cc
OptimizerPtr MakeGroupAdagrad(float initial_accumulator, float epsilon,
                              float l1, float l2, float l21);
OptimizerPtr MakeGroupFtrl(float initial_accumulator, float beta, float l1,
                           float l2, float l21);

// batch_softmax.cc
OptimizerPtr MakeBatchSoftmax();

// regularized.cc
OptimizerPtr MakeRegularized(OptimizerPtr inner,
                             const RegularizationConfig& config);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_OPTIMIZER_OPTIMIZER_FAMILIES_H_
