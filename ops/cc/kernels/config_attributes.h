// Reads the config of a table from the attributes of MonolithTableCreate.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_CONFIG_ATTRIBUTES_H_
#define MONOLITH_TF_OPS_CC_KERNELS_CONFIG_ATTRIBUTES_H_

#include "absl/status/status.h"
#include "ops/cc/config/table_config.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// InvalidArgument when the lists do not have one entry per segment, or when the
// config is not valid.
absl::Status ReadTableConfig(tensorflow::OpKernelConstruction* context,
                             TableConfig* config);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_CONFIG_ATTRIBUTES_H_
