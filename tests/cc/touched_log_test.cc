#include "ops/cc/table/touched_log.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

TEST(TouchedLogTest, IdsAreKeptInOrderOverManyBlocks) {
  TouchedLog log;
  std::vector<int64_t> ids = {-7};
  log.CopyTo(&ids);
  EXPECT_EQ(ids, std::vector<int64_t>{-7});
  for (const int64_t id : Range(0, 100000)) log.Append(id);
  log.CopyTo(&ids);
  std::vector<int64_t> expected = {-7};
  for (const int64_t id : Range(0, 100000)) expected.push_back(id);
  EXPECT_EQ(ids, expected);
}

TEST(TouchedLogTest, ItSaysHowMuchMemoryItTakes) {
  TouchedLog log;
  int64_t taken = log.Append(1);
  EXPECT_EQ(taken, 16 * 8);
  for (int i = 0; i < 15; ++i) EXPECT_EQ(log.Append(i), 0);
  for (const int64_t id : Range(0, 100000)) taken += log.Append(id);
  EXPECT_EQ(log.taken_bytes(), taken);
  EXPECT_GE(taken, 100016 * 8);
  EXPECT_LE(taken, log.memory_bytes());
}

TEST(TouchedLogTest, ItsMemoryIsSmallAtFirstAndFollowsTheIds) {
  TouchedLog log;
  EXPECT_EQ(log.memory_bytes(), 0);
  log.Append(1);
  EXPECT_LE(log.memory_bytes(), 256);
  for (const int64_t id : Range(0, 100000)) log.Append(id);
  EXPECT_GE(log.memory_bytes(), 800000);
  // The last block may be almost empty, and each has a vector.
  EXPECT_LE(log.memory_bytes(), 800000 + 4096 * 8 + 64 * 24);
}

}  // namespace
}  // namespace monolith_tf
