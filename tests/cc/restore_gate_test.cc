#include "ops/cc/table/restore_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace monolith_tf {
namespace {

TEST(RestoreGateTest, UsesAreAllowedWhileItIsOpen) {
  RestoreGate gate;
  EXPECT_TRUE(GatedUse(&gate).is_allowed());
  gate.Close();
  EXPECT_FALSE(GatedUse(&gate).is_allowed());
  EXPECT_TRUE(gate.is_closed());
  gate.Open();
  EXPECT_TRUE(GatedUse(&gate).is_allowed());
  EXPECT_FALSE(gate.is_closed());
}

TEST(RestoreGateTest, ClosingAgainChangesNothing) {
  RestoreGate gate;
  gate.Close();
  gate.Close();
  gate.Open();
  EXPECT_TRUE(GatedUse(&gate).is_allowed());
}

TEST(RestoreGateTest, ClosingWaitsForTheUsesThatHaveBegun) {
  RestoreGate gate;
  ASSERT_TRUE(gate.Enter());
  std::atomic<bool> is_done{false};
  std::thread user([&] {
    // The gate is closed, but not idle: Close() has not returned.
    while (!gate.is_closed()) std::this_thread::yield();
    is_done = true;
    gate.Leave();
  });
  gate.Close();
  EXPECT_TRUE(is_done);
  user.join();
}

TEST(RestoreGateTest, NoUseOverlapsAClosedGate) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 200;
  RestoreGate gate;
  // Written without a lock: a use that overlaps a restore is a data race.
  int restored = 0;
  std::atomic<bool> is_over{false};
  std::atomic<int64_t> num_uses{0};
  std::vector<std::thread> users;
  for (int t = 0; t < kThreads; ++t) {
    users.emplace_back([&] {
      while (!is_over) {
        const GatedUse use(&gate);
        if (use.is_allowed() && restored >= 0) ++num_uses;
      }
    });
  }
  while (num_uses == 0) std::this_thread::yield();
  for (int round = 0; round < kRounds; ++round) {
    gate.Close();
    ++restored;
    gate.Open();
  }
  is_over = true;
  for (std::thread& user : users) user.join();
  EXPECT_EQ(restored, kRounds);
}

}  // namespace
}  // namespace monolith_tf
