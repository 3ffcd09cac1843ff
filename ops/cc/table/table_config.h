// table_config.h
//
// What a table is made from. Two tables of one name must have equal configs.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_CONFIG_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace monolith_tf {

// The largest number of weights of a row.
inline constexpr int64_t kMaxDim = 65536;

// What is done around a row optimizer's step; 0 is off.
struct RegularizationConfig {
  float weight_decay = 0;
  float l2 = 0;
  float clip_value = 0;
  float clip_norm = 0;
  float max_norm = 0;
};

// The row optimizer of a table.
//
//   kind          hyperparameters; in [] what may be left out, which is 0
//   "sgd"         {[0 <= momentum <= 1, nesterov: 0 or 1]}
//   "adagrad", "row_wise_adagrad"
//                 {initial_accumulator >= 0, epsilon >= 0}, not both 0
//   "adadelta"    {0 <= rho < 1, epsilon > 0}
//   "rmsprop"     {0 <= rho < 1, 0 <= momentum <= 1, epsilon > 0, centered}
//   "adam", "adamw"
//                 {0 <= beta_1 < 1, 0 <= beta_2 < 1, epsilon > 0, [amsgrad,
//                 per_row_step]}
//   "ftrl"        {-1 <= learning_rate_power <= 0, initial_accumulator, l1, l2,
//                 l2_shrinkage, beta}
//   "group_adagrad"
//                 {initial_accumulator, epsilon, l1, l2, l21}
//   "group_ftrl"  {initial_accumulator, beta, l1, l2, l21}
//   "delay_compensated_sgd"
//                 {variance_control}
//   "delay_compensated_adagrad"
//                 {variance_control, initial_accumulator, epsilon}
//   "moving_average"
//                 {0 <= momentum <= 1}
//   "batch_softmax"
//                 {}
//
// "adamw" is "adam" whose weight_decay is meant. The last two take no
// regularization.
struct OptimizerConfig {
  std::string kind;
  std::vector<float> hyperparameters;
  RegularizationConfig regularization = {};
};

// The function that gives an id its first weights.
//
//   kind                parameters
//   "zeros"             {}
//   "constant"          {value}
//   "uniform"           {minval, maxval >= minval}
//   "truncated_normal"  {mean, stddev >= 0}, cut at two deviations
struct InitializerConfig {
  std::string kind;
  std::vector<float> parameters;
};

struct TableConfig {
  // Not empty; the initial rows depend on it.
  std::string name;
  // Weights of a row, 1 .. kMaxDim.
  int64_t dim = 0;
  OptimizerConfig optimizer;
  InitializerConfig initializer;
  uint64_t seed = 0;

  // InvalidArgument that names the table, what was passed and what to pass.
  absl::Status Validate() const;

  // One line for error messages.
  std::string DebugString() const;
};

bool operator==(const RegularizationConfig& a, const RegularizationConfig& b);
inline bool operator!=(const RegularizationConfig& a,
                       const RegularizationConfig& b) {
  return !(a == b);
}
bool operator==(const OptimizerConfig& a, const OptimizerConfig& b);
bool operator==(const InitializerConfig& a, const InitializerConfig& b);
bool operator==(const TableConfig& a, const TableConfig& b);
inline bool operator!=(const TableConfig& a, const TableConfig& b) {
  return !(a == b);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_CONFIG_H_
