// Files of snapshots: local ones by the core's own calls, which make them
// durable, others by TensorFlow's file systems.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_SNAPSHOT_FILE_H_
#define MONOLITH_TF_OPS_CC_KERNELS_SNAPSHOT_FILE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ops/cc/storage/file.h"

namespace monolith_tf {

// Creates a file and the folders above it.
absl::StatusOr<std::unique_ptr<FileWriter>> CreateSnapshotFile(
    const std::string& path);

absl::StatusOr<std::unique_ptr<FileReader>> OpenSnapshotFile(
    const std::string& path);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_SNAPSHOT_FILE_H_
