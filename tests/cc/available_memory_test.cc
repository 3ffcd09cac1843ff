#include "ops/cc/memory/available_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace monolith_tf {
namespace {

class AvailableMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ / "proc");
    std::filesystem::create_directories(root_ / "sys/fs/cgroup/memory");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) const {
    std::ofstream(root_ / path) << text;
  }
  void WriteMeminfo() const {
    Write("proc/meminfo",
          "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:   500 kB\n");
  }
  int64_t Available() const { return AvailableMemory(root_.string()); }

  std::filesystem::path root_;
};

TEST_F(AvailableMemoryTest, NothingIsKnownWithoutFiles) {
  EXPECT_EQ(Available(), -1);
}

TEST_F(AvailableMemoryTest, TheMachineSaysWhatItHas) {
  WriteMeminfo();
  EXPECT_EQ(Available(), 500 * 1024);
}

TEST_F(AvailableMemoryTest, AControlGroupMayGiveLess) {
  WriteMeminfo();
  Write("sys/fs/cgroup/memory.max", "max\n");
  Write("sys/fs/cgroup/memory.current", "90000\n");
  EXPECT_EQ(Available(), 500 * 1024);
  Write("sys/fs/cgroup/memory.max", "100000\n");
  EXPECT_EQ(Available(), 10000);
  // Of cached files those that are active stay.
  Write("sys/fs/cgroup/memory.stat",
        "anon 70\nactive_file 30\ninactive_file 2000\n");
  EXPECT_EQ(Available(), 12000);
  Write("sys/fs/cgroup/memory.current", "200000\n");
  EXPECT_EQ(Available(), 0);
  Write("sys/fs/cgroup/memory.max", "100000000\n");
  EXPECT_EQ(Available(), 500 * 1024);
}

TEST_F(AvailableMemoryTest, TheFirstVersionOfControlGroupsToo) {
  WriteMeminfo();
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "100000\n");
  Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "40000\n");
  Write("sys/fs/cgroup/memory/memory.stat",
        "inactive_file 7\ntotal_inactive_file 1000\n");
  EXPECT_EQ(Available(), 61000);
}

TEST_F(AvailableMemoryTest, ThisMachineHasSome) {
  EXPECT_GT(AvailableMemory(), 0);
}

}  // namespace
}  // namespace monolith_tf
