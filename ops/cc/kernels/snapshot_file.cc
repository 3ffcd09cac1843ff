#include "ops/cc/kernels/snapshot_file.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "ops/cc/storage/file.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/file_system.h"
#include "tensorflow/core/platform/path.h"

namespace monolith_tf {
namespace {

using ::tensorflow::Env;
using ::tensorflow::RandomAccessFile;
using ::tensorflow::WritableFile;

// The path of a local file; empty if it is on another file system.
std::string LocalPath(const std::string& path) {
  if (!absl::StrContains(path, "://")) return path;
  if (!absl::StartsWith(path, "file://")) return "";
  return path.substr(std::strlen("file://"));
}

class RemoteFileWriter : public FileWriter {
 public:
  RemoteFileWriter(std::string path, std::unique_ptr<WritableFile> file)
      : path_(std::move(path)), file_(std::move(file)) {}
  const std::string& path() const override { return path_; }
  absl::Status Append(const void* data, size_t size) override {
    return file_->Append(
        absl::string_view(static_cast<const char*>(data), size));
  }
  absl::Status Sync() override { return file_->Sync(); }
  absl::Status Close() override { return file_->Close(); }

 private:
  const std::string path_;
  const std::unique_ptr<WritableFile> file_;
};

// TensorFlow's method of today, which the last argument prefers.
template <typename File>
auto ReadFrom(const File& file, int64_t offset, absl::string_view* read,
              char* data, size_t size, int)
    -> decltype(file.Read(offset, *read, absl::Span<char>(data, size))) {
  return file.Read(offset, *read, absl::Span<char>(data, size));
}

// That of TensorFlow 2.16, where the other does not exist.
template <typename File>
absl::Status ReadFrom(const File& file, int64_t offset, absl::string_view* read,
                      char* data, size_t size, long) {
  return file.Read(offset, size, read, data);
}

class RemoteFileReader : public FileReader {
 public:
  RemoteFileReader(std::string path, std::unique_ptr<RandomAccessFile> file,
                   int64_t size)
      : path_(std::move(path)), file_(std::move(file)), size_(size) {}
  const std::string& path() const override { return path_; }
  int64_t size() const override { return size_; }
  absl::Status Read(int64_t offset, size_t size, void* data) const override {
    absl::string_view read;
    const absl::Status status =
        ReadFrom(*file_, offset, &read, static_cast<char*>(data), size, 0);
    if (read.size() == size) {
      // It may point to memory of the file system's own.
      if (read.data() != data) std::memmove(data, read.data(), size);
      return absl::OkStatus();
    }
    if (!status.ok() && !absl::IsOutOfRange(status)) return status;
    return absl::DataLossError(absl::StrCat(
        path_, ": the file ends at offset ",
        offset + static_cast<int64_t>(read.size()), ", before the ",
        size - read.size(), " bytes that follow there."));
  }

 private:
  const std::string path_;
  const std::unique_ptr<RandomAccessFile> file_;
  const int64_t size_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FileWriter>> CreateSnapshotFile(
    const std::string& path) {
  const std::string folder(tensorflow::io::Dirname(path));
  const absl::Status made = Env::Default()->RecursivelyCreateDir(folder);
  if (!made.ok()) return made;
  const std::string local = LocalPath(path);
  if (!local.empty()) return CreateLocalFile(local);
  std::unique_ptr<WritableFile> file;
  const absl::Status status = Env::Default()->NewWritableFile(path, &file);
  if (!status.ok()) return status;
  return std::unique_ptr<FileWriter>(
      std::make_unique<RemoteFileWriter>(path, std::move(file)));
}

absl::StatusOr<std::unique_ptr<FileReader>> OpenSnapshotFile(
    const std::string& path) {
  const std::string local = LocalPath(path);
  if (!local.empty()) return OpenLocalFile(local);
  uint64_t size = 0;
  absl::Status status = Env::Default()->GetFileSize(path, &size);
  if (!status.ok()) return status;
  std::unique_ptr<RandomAccessFile> file;
  status = Env::Default()->NewRandomAccessFile(path, &file);
  if (!status.ok()) return status;
  return std::unique_ptr<FileReader>(std::make_unique<RemoteFileReader>(
      path, std::move(file), static_cast<int64_t>(size)));
}

}  // namespace monolith_tf
