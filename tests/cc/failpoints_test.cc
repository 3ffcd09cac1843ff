#include "ops/cc/failpoints/failpoints.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace monolith_tf {
namespace {

class FailpointsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    ASSERT_TRUE(SetFailpoints("").ok());
  }
  void TearDown() override { ASSERT_TRUE(SetFailpoints("").ok()); }
};

TEST_F(FailpointsTest, NothingFailsUnlessItIsNamed) {
  EXPECT_TRUE(FailAt("log.after_rename").ok());
  ASSERT_TRUE(SetFailpoints("log.before_rename::raise").ok());
  EXPECT_TRUE(FailAt("log.after_rename").ok());
  EXPECT_FALSE(FailAt("log.before_rename").ok());
}

TEST_F(FailpointsTest, OneHitTriggersIfItHasANumber) {
  ASSERT_TRUE(SetFailpoints("log.write:3:raise").ok());
  EXPECT_TRUE(FailAt("log.write").ok());
  EXPECT_TRUE(FailAt("log.write").ok());
  EXPECT_EQ(FailAt("log.write"),
            absl::InternalError("failpoint log.write, hit 3"));
  EXPECT_TRUE(FailAt("log.write").ok());
}

TEST_F(FailpointsTest, EachHitTriggersWithoutANumber) {
  ASSERT_TRUE(SetFailpoints("log.write::raise").ok());
  EXPECT_FALSE(FailAt("log.write").ok());
  EXPECT_FALSE(FailAt("log.write").ok());
}

TEST_F(FailpointsTest, EntriesOfOneNameTriggerAtTheirHits) {
  ASSERT_TRUE(SetFailpoints("log.write:1:enospc,log.write:2:eio").ok());
  EXPECT_EQ(FailAt("log.write"),
            absl::ResourceExhaustedError("failpoint log.write, hit 1: No space "
                                         "left on device"));
  EXPECT_EQ(FailAt("log.write"),
            absl::UnknownError("failpoint log.write, hit 2: Input/output "
                               "error"));
  EXPECT_TRUE(FailAt("log.write").ok());
}

TEST_F(FailpointsTest, ASleepDelaysTheCaller) {
  ASSERT_TRUE(SetFailpoints("log.write:1:sleep=0.02").ok());
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(FailAt("log.write").ok());
  EXPECT_GE(std::chrono::steady_clock::now() - start,
            std::chrono::milliseconds(20));
}

TEST_F(FailpointsTest, AKillEndsTheProcessAndSaysWhichFailpointItWas) {
  EXPECT_EXIT(
      {
        SetFailpoints("log.write:2:kill").IgnoreError();
        FailAt("log.write").IgnoreError();
        FailAt("log.write").IgnoreError();
      },
      ::testing::KilledBySignal(SIGKILL), "FAILPOINT log.write hit 2: kill");
}

// In a child process: this one has read the variable.
TEST_F(FailpointsTest, TheVariableNamesThem) {
  EXPECT_EXIT(
      {
        setenv("MONOLITH_TF_FAIL_AT", "log.write::kill", 1);
        SetFailpointsFromEnvironment().IgnoreError();
        FailAt("log.write").IgnoreError();
      },
      ::testing::KilledBySignal(SIGKILL), "FAILPOINT log.write hit 1: kill");
}

TEST_F(FailpointsTest, AMalformedVariableFailsEveryHit) {
  setenv("MONOLITH_TF_FAIL_AT", "log.write", 1);
  const absl::Status status = SetFailpointsFromEnvironment();
  unsetenv("MONOLITH_TF_FAIL_AT");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FailAt("log.write"), status);
  EXPECT_EQ(FailAt("log.read"), status);
}

TEST_F(FailpointsTest, AMalformedSpecChangesNothing) {
  ASSERT_TRUE(SetFailpoints("log.write::raise").ok());
  EXPECT_FALSE(SetFailpoints("log.write:raise").ok());
  EXPECT_FALSE(FailAt("log.write").ok());
}

TEST(ParseFailpointsTest, ReadsAllFields) {
  const absl::StatusOr<std::vector<Failpoint>> found =
      ParseFailpoints("delta_log.after_rename:3:kill,other.one:1:sleep=2.5");
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 2);
  EXPECT_EQ((*found)[0].name, "delta_log.after_rename");
  EXPECT_EQ((*found)[0].hit, 3);
  EXPECT_EQ((*found)[0].action, FaultAction::kKill);
  EXPECT_EQ((*found)[1].hit, 1);
  EXPECT_EQ((*found)[1].action, FaultAction::kSleep);
  EXPECT_EQ((*found)[1].sleep_seconds, 2.5);
}

// tests/failpoints/spec_test.py has the same list.
TEST(ParseFailpointsTest, RefusesMalformedEntries) {
  for (const std::string entry : {"a.b",
                                  "a.b:1",
                                  "a.b:1:kill:",
                                  "a:1:kill",
                                  "a.b.c:1:kill",
                                  ".b:1:kill",
                                  "A.b:1:kill",
                                  "a.b:0:kill",
                                  "a.b:-1:kill",
                                  "a.b:x:kill",
                                  "a.b:1234567890123456789:kill",
                                  "a.b:1:",
                                  "a.b:1:die",
                                  "a.b:1:kill=1",
                                  "a.b:1:sleep",
                                  "a.b:1:sleep=",
                                  "a.b:1:sleep=-1",
                                  "a.b:1:sleep=1.",
                                  "a.b:1:sleep=1e3",
                                  "a.b:1:sleep=1=2",
                                  "a.b:1:kill,",
                                  ",a.b:1:kill",
                                  " a.b:1:kill"}) {
    const absl::Status status = ParseFailpoints(entry).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << entry;
  }
  EXPECT_EQ(
      ParseFailpoints("a.b::kill,a.b:1:die").status().message(),
      "MONOLITH_TF_FAIL_AT must have entries of the form name:hit:action, "
      "separated by commas; hit is a positive number, or empty for each hit; "
      "action is kill, raise, sleep=seconds, enospc or eio. Received: "
      "'a.b:1:die'. Example: delta_log.after_rename:3:kill.");
}

}  // namespace
}  // namespace monolith_tf
