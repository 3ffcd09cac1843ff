#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/storage/file.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

class LocalFileTest : public ::testing::Test {
 protected:
  LocalFileTest() {
    char path[] = "/tmp/local_file_test.XXXXXX";
    folder_ = mkdtemp(path);
  }
  ~LocalFileTest() override {
    unlink(Path("file").c_str());
    rmdir(folder_.c_str());
  }
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_, "/", name);
  }

  std::string folder_;
};

TEST_F(LocalFileTest, ReadsBackWhatWasAppendedAcrossWriteBacks) {
  auto writer = CreateLocalFile(Path("file"));
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::string piece(3 << 20, 'x');
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE((*writer)->Append(piece.data(), piece.size()).ok());
  }
  ASSERT_TRUE((*writer)->Append("end", 3).ok());
  ASSERT_TRUE((*writer)->Sync().ok());
  ASSERT_TRUE((*writer)->Close().ok());
  ASSERT_TRUE(SyncLocalDirectory(folder_).ok());
  auto reader = OpenLocalFile(Path("file"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_EQ((*reader)->size(), 12 * (3 << 20) + 3);
  char bytes[5] = {};
  ASSERT_TRUE((*reader)->Read((*reader)->size() - 4, 4, bytes).ok());
  EXPECT_STREQ(bytes, "xend");
}

TEST_F(LocalFileTest, ReadingPastTheEndIsDataLossThatNamesTheFile) {
  auto writer = CreateLocalFile(Path("file"));
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append("abc", 3).ok());
  ASSERT_TRUE((*writer)->Close().ok());
  auto reader = OpenLocalFile(Path("file"));
  ASSERT_TRUE(reader.ok());
  char bytes[4];
  ExpectError((*reader)->Read(1, 3, bytes), absl::StatusCode::kDataLoss,
              {Path("file"), "ends at offset 3"});
}

TEST_F(LocalFileTest, AMissingFileIsNotFound) {
  ExpectError(OpenLocalFile(Path("none")).status(), absl::StatusCode::kNotFound,
              {Path("none"), "open for reading failed"});
}

TEST_F(LocalFileTest, AFileInAMissingFolderIsRefused) {
  ExpectError(CreateLocalFile(Path("none/file")).status(),
              absl::StatusCode::kNotFound,
              {"none/file", "open for writing failed"});
}

TEST_F(LocalFileTest, AFullDiskIsResourceExhausted) {
  auto writer = CreateLocalFile("/dev/full");
  ASSERT_TRUE(writer.ok());
  ExpectError((*writer)->Append("abc", 3), absl::StatusCode::kResourceExhausted,
              {"/dev/full", "write failed", "Free space"});
}

TEST_F(LocalFileTest, SyncOfAMissingDirectoryIsNotFound) {
  ExpectError(SyncLocalDirectory(Path("none")), absl::StatusCode::kNotFound,
              {"none", "open failed"});
}

}  // namespace
}  // namespace monolith_tf
