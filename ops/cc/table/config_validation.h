// config_validation.h: the check of a table's config.

#ifndef MONOLITH_TF_OPS_CC_TABLE_CONFIG_VALIDATION_H_
#define MONOLITH_TF_OPS_CC_TABLE_CONFIG_VALIDATION_H_

#include "absl/status/status.h"
#include "ops/cc/config/table_config.h"

namespace monolith_tf {

// Returns OK, or InvalidArgument that names the table, what was expected and
// what was passed.
absl::Status ValidateConfig(const TableConfig& config);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_CONFIG_VALIDATION_H_
