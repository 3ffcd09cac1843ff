// file.h
//
// Files that are written once, from start to end, and read at any offset. Two
// implementations exist: local files below, whose Sync survives a loss of
// power, and TensorFlow's file systems in the kernels.

#ifndef MONOLITH_TF_OPS_CC_STORAGE_FILE_H_
#define MONOLITH_TF_OPS_CC_STORAGE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace monolith_tf {

// Appends to a new file. Not thread-safe. Errors name the file.
class FileWriter {
 public:
  virtual ~FileWriter() = default;

  virtual const std::string& path() const = 0;
  virtual absl::Status Append(const void* data, size_t size) = 0;
  // Returns when everything that was appended is durable.
  virtual absl::Status Sync() = 0;
  // Call it once, last. A destructor closes without it and hides its errors.
  virtual absl::Status Close() = 0;
};

// Reads a file. Thread-safe. Errors name the file.
class FileReader {
 public:
  virtual ~FileReader() = default;

  virtual const std::string& path() const = 0;
  virtual int64_t size() const = 0;
  // Fills `data` [size] from `offset`. DataLoss, with both, if the file ends
  // before.
  virtual absl::Status Read(int64_t offset, size_t size, void* data) const = 0;
};

// Creates a local file, or empties the one that there is. Written pages go to
// the disk while later ones are made, and leave the page cache after that, so
// that a large file does not push out what the process needs.
absl::StatusOr<std::unique_ptr<FileWriter>> CreateLocalFile(
    const std::string& path);

// NotFound if there is no such file.
absl::StatusOr<std::unique_ptr<FileReader>> OpenLocalFile(
    const std::string& path);

// Makes the entries of a local directory durable: files that were created,
// renamed or removed in it.
absl::Status SyncLocalDirectory(const std::string& path);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_STORAGE_FILE_H_
