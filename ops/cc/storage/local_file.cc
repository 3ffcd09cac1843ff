// Local files, by the system's own calls.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/failpoints/failpoints.h"
#include "ops/cc/storage/file.h"

namespace monolith_tf {
namespace {

// The system starts to write pages back after this many bytes.
constexpr int64_t kWriteBackBytes = int64_t{8} << 20;
// One call takes no more than 2 GiB.
constexpr size_t kMaxCallBytes = size_t{1} << 30;

absl::Status ErrorOf(const std::string& path, const char* what, int error) {
  const std::string message =
      absl::StrCat(path, ": ", what, " failed: ", std::strerror(error), ".");
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(absl::StrCat(
          message, " Free space there, or use another directory."));
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

class LocalFileWriter : public FileWriter {
 public:
  LocalFileWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~LocalFileWriter() override {
    if (fd_ >= 0) ::close(fd_);
  }

  const std::string& path() const override { return path_; }

  absl::Status Append(const void* data, size_t size) override {
    const absl::Status fault = FailAt("local_file.before_write");
    if (!fault.ok()) return fault;
    const auto* next = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(fd_, next, std::min(size, kMaxCallBytes));
      if (written < 0) {
        if (errno == EINTR) continue;
        return ErrorOf(path_, "write", errno);
      }
      next += written;
      size -= static_cast<size_t>(written);
      end_ += written;
    }
    WriteBack();
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    const absl::Status fault = FailAt("local_file.before_fsync");
    if (!fault.ok()) return fault;
    while (::fsync(fd_) != 0) {
      if (errno != EINTR) return ErrorOf(path_, "fsync", errno);
    }
    return absl::OkStatus();
  }

  absl::Status Close() override {
    const int closed = ::close(std::exchange(fd_, -1));
    return closed == 0 ? absl::OkStatus() : ErrorOf(path_, "close", errno);
  }

 private:
  // Best effort: Sync reports what goes wrong.
  void WriteBack() {
    if (end_ - started_ < kWriteBackBytes) return;
    // Waits for the piece before, which bounds the dirty pages of a fast
    // writer, and frees its pages.
    if (started_ > done_) {
      ::sync_file_range(fd_, done_, started_ - done_,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                            SYNC_FILE_RANGE_WAIT_AFTER);
      ::posix_fadvise(fd_, done_, started_ - done_, POSIX_FADV_DONTNEED);
    }
    ::sync_file_range(fd_, started_, end_ - started_, SYNC_FILE_RANGE_WRITE);
    done_ = started_;
    started_ = end_;
  }

  const std::string path_;
  int fd_;
  // Bytes that were appended, whose write-back was started, and which are
  // written.
  int64_t end_ = 0;
  int64_t started_ = 0;
  int64_t done_ = 0;
};

class LocalFileReader : public FileReader {
 public:
  LocalFileReader(std::string path, int fd, int64_t size)
      : path_(std::move(path)), fd_(fd), size_(size) {}
  ~LocalFileReader() override { ::close(fd_); }

  const std::string& path() const override { return path_; }
  int64_t size() const override { return size_; }

  absl::Status Read(int64_t offset, size_t size, void* data) const override {
    auto* next = static_cast<char*>(data);
    while (size > 0) {
      const ssize_t count =
          ::pread(fd_, next, std::min(size, kMaxCallBytes), offset);
      if (count < 0) {
        if (errno == EINTR) continue;
        return ErrorOf(path_, "read", errno);
      }
      if (count == 0) {
        return absl::DataLossError(
            absl::StrCat(path_, ": the file ends at offset ", offset,
                         ", before the ", size, " bytes that follow there."));
      }
      next += count;
      offset += count;
      size -= static_cast<size_t>(count);
    }
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const int fd_;
  const int64_t size_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FileWriter>> CreateLocalFile(
    const std::string& path) {
  const int fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return ErrorOf(path, "open for writing", errno);
  return std::unique_ptr<FileWriter>(
      std::make_unique<LocalFileWriter>(path, fd));
}

absl::StatusOr<std::unique_ptr<FileReader>> OpenLocalFile(
    const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrorOf(path, "open for reading", errno);
  struct stat found;
  if (::fstat(fd, &found) != 0) {
    const int error = errno;
    ::close(fd);
    return ErrorOf(path, "stat", error);
  }
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::unique_ptr<FileReader>(
      std::make_unique<LocalFileReader>(path, fd, found.st_size));
}

absl::Status SyncLocalDirectory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrorOf(path, "open", errno);
  const absl::Status fault = FailAt("local_file.before_directory_fsync");
  const int error = !fault.ok() || ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (!fault.ok()) return fault;
  return error == 0 ? absl::OkStatus()
                    : ErrorOf(path, "fsync of the directory", error);
}

}  // namespace monolith_tf
