// config_validation.h: which configs make a table.

#ifndef MONOLITH_TF_OPS_CC_TABLE_CONFIG_VALIDATION_H_
#define MONOLITH_TF_OPS_CC_TABLE_CONFIG_VALIDATION_H_

#include "absl/status/status.h"
#include "ops/cc/config/table_config.h"

namespace monolith_tf {

// InvalidArgument that names the table, what was passed and what to pass.
absl::Status ValidateConfig(const TableConfig& config);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_CONFIG_VALIDATION_H_
