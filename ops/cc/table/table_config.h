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

// The row optimizer of a table.
//
//   kind        hyperparameters
//   "sgd"       {}
//   "adagrad"   {initial_accumulator >= 0, epsilon >= 0}, not both 0
//   "adam"      {0 <= beta_1 < 1, 0 <= beta_2 < 1, epsilon > 0}
struct OptimizerConfig {
  std::string kind;
  std::vector<float> hyperparameters;
};

// The function that gives an id its first weights.
//
//   kind                parameters
//   "zeros"             {}
//   "ones"              {}
//   "constant"          {value}
//   "uniform"           {minval, maxval >= minval}
//   "normal"            {mean, stddev >= 0}
//   "truncated_normal"  {mean, stddev >= 0}, cut at two deviations
//   "variance_scaling"  {scale > 0, distribution}: 0 truncated normal,
//                       1 untruncated normal, 2 uniform, of variance
//                       scale / dim
struct InitializerConfig {
  std::string kind;
  std::vector<float> parameters;
};

// How a row's weights are stored; precision.h says what each kind does.
//
//   kind        parameters
//   "float32"   {}
//   "bfloat16"  {}, rounded stochastically
//   "float16"   {}, rounded stochastically
//   "int8"      {range}, 255 levels from -range to range
//   "onebit"    {amplitude > 0, anneal_steps >= 1}
struct PrecisionConfig {
  std::string kind = "float32";
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

bool operator==(const OptimizerConfig& a, const OptimizerConfig& b);
bool operator==(const InitializerConfig& a, const InitializerConfig& b);
bool operator==(const PrecisionConfig& a, const PrecisionConfig& b);
bool operator==(const TableConfig& a, const TableConfig& b);
inline bool operator!=(const TableConfig& a, const TableConfig& b) {
  return !(a == b);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_CONFIG_H_
