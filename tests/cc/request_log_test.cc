#include "ops/cc/table/request_log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

using Answer = RequestLog::Answer;
using Numbers = std::vector<int64_t>;

constexpr int64_t kClient = -77;

TEST(RequestLogTest, ARepeatOfAnySequenceIsKnown) {
  RequestLog log;
  for (int64_t sequence = 0; sequence < 200000; ++sequence) {
    ASSERT_EQ(*log.Begin(kClient, sequence), Answer::kApply);
  }
  EXPECT_EQ(*log.Begin(kClient, 0), Answer::kRepeat);
  EXPECT_EQ(*log.Begin(kClient, 199999), Answer::kRepeat);
  EXPECT_EQ(log.counts().applied, 200000);
  EXPECT_EQ(log.counts().repeated, 2);
  // One client, no gap.
  EXPECT_EQ(log.Export(), (Numbers{1, 1, kClient, 200000, 0, 0}));
}

TEST(RequestLogTest, ClientsHaveSequencesOfTheirOwn) {
  RequestLog log;
  EXPECT_EQ(*log.Begin(1, 5), Answer::kApply);
  EXPECT_EQ(*log.Begin(2, 5), Answer::kApply);
  EXPECT_EQ(*log.Begin(1, 5), Answer::kRepeat);
}

TEST(RequestLogTest, WhatWasOvertakenIsAppliedOnce) {
  RequestLog log;
  for (const int64_t sequence : {7, 3, 0, 5, 6, 4, 2, 1}) {
    EXPECT_EQ(*log.Begin(kClient, sequence), Answer::kApply) << sequence;
  }
  for (int64_t sequence = 0; sequence < 8; ++sequence) {
    EXPECT_EQ(*log.Begin(kClient, sequence), Answer::kRepeat) << sequence;
  }
  EXPECT_EQ(log.Export(), (Numbers{1, 1, kClient, 8, 0, 0}));
}

TEST(RequestLogTest, WhatIsTooOldToKnowIsRefusedAndNotApplied) {
  RequestLog log;
  // Every second sequence is missing.
  const int64_t last = 2 * static_cast<int64_t>(RequestLog::kMaxGaps) + 2;
  for (int64_t sequence = 0; sequence <= last; sequence += 2) {
    EXPECT_EQ(*log.Begin(kClient, sequence), Answer::kApply);
  }
  ExpectError(log.Begin(kClient, 1).status(),
              absl::StatusCode::kFailedPrecondition,
              {"Request 1 of client -77 is too old to know",
               "Expected a sequence of at least 2", "Nothing was changed"});
  ExpectError(log.Begin(kClient, 0).status(),
              absl::StatusCode::kFailedPrecondition, {"Request 0"});
  EXPECT_EQ(log.counts().refused, 2);
  EXPECT_EQ(*log.Begin(kClient, 2), Answer::kRepeat);
  EXPECT_EQ(*log.Begin(kClient, 3), Answer::kApply);
}

TEST(RequestLogTest, ANegativeSequenceIsRefused) {
  RequestLog log;
  ExpectError(log.Begin(kClient, -1).status(),
              absl::StatusCode::kInvalidArgument, {"Received: -1"});
}

TEST(RequestLogTest, ALoopThatCountsFromZeroAgainIsSuspectedOnce) {
  RequestLog log;
  for (int64_t sequence = 0; sequence < 100; ++sequence) {
    ASSERT_EQ(*log.Begin(kClient, sequence), Answer::kApply);
  }
  int num_suspected = 0;
  for (int64_t sequence = 0; sequence < 100; ++sequence) {
    num_suspected += *log.Begin(kClient, sequence) == Answer::kSuspectRepeat;
  }
  EXPECT_EQ(num_suspected, 1);
}

TEST(RequestLogTest, ForgottenRequestsMayComeAgain) {
  RequestLog log;
  log.CountUpdate();
  EXPECT_EQ(*log.Begin(kClient, 3), Answer::kApply);
  log.Forget();
  EXPECT_EQ(*log.Begin(kClient, 3), Answer::kApply);
  EXPECT_EQ(log.counts().applied, 3);
}

TEST(RequestLogTest, SilentClientsAreForgottenWhenThereAreTooMany) {
  RequestLog log;
  const auto num_clients = static_cast<int64_t>(RequestLog::kMaxClients);
  for (int64_t client = 0; client < num_clients; ++client) {
    ASSERT_EQ(*log.Begin(client, 0), Answer::kApply);
  }
  // The first one is not silent.
  EXPECT_EQ(*log.Begin(0, 1), Answer::kApply);
  EXPECT_EQ(*log.Begin(num_clients, 0), Answer::kApply);
  EXPECT_EQ(*log.Begin(0, 0), Answer::kRepeat);
  EXPECT_EQ(*log.Begin(num_clients - 1, 0), Answer::kRepeat);
  EXPECT_EQ(log.Export()[1], num_clients - num_clients / 8);
}

TEST(RequestLogTest, ExportedMarksAreImportedExactly) {
  RequestLog log;
  for (const int64_t sequence : {0, 1, 4, 9, 6}) {
    ASSERT_TRUE(log.Begin(kClient, sequence).ok());
  }
  ASSERT_TRUE(log.Begin(5, 2).ok());
  const Numbers numbers = log.Export();
  EXPECT_EQ(numbers, (Numbers{1, 2, kClient, 10, 0, 3, 2, 4, 5, 6, 7, 9, 5, 3,
                              0, 1, 0, 2}));
  RequestLog other;
  ASSERT_TRUE(other.Begin(8, 1).ok());
  ASSERT_TRUE(other.Import(numbers).ok());
  EXPECT_EQ(other.Export(), numbers);
  EXPECT_EQ(*other.Begin(kClient, 4), Answer::kRepeat);
  EXPECT_EQ(*other.Begin(kClient, 3), Answer::kApply);
  EXPECT_EQ(*other.Begin(8, 1), Answer::kApply);
}

TEST(RequestLogTest, OtherNumbersAreRefusedAndChangeNothing) {
  RequestLog log;
  ASSERT_TRUE(log.Begin(kClient, 3).ok());
  const Numbers numbers = log.Export();
  for (const Numbers& wrong : std::vector<Numbers>{
           {},
           {1},
           {2, 0},
           {1, -1},
           {1, 0, 7},
           {1, 1, 5, 3, 0},
           {1, 1, 5, 3, 4, 0},
           {1, 1, 5, 3, -1, 0},
           {1, 1, 5, 3, 0, -1},
           {1, 1, 5, 3, 0, 2, 0, 1},
           {1, 1, 5, 3, 0, INT64_MAX},
           {1, 1, 5, 3, 0, 1, 2, 2},
           {1, 1, 5, 3, 0, 1, 2, 4},
           {1, 1, 5, 9, 0, 2, 4, 5, 2, 3},
           {1, 2, 5, 3, 0, 0, 5, 3, 0, 0},
       }) {
    ExpectError(log.Import(wrong), absl::StatusCode::kInvalidArgument,
                {"Request marks must be", "Received: numbers that differ"});
  }
  EXPECT_EQ(log.Export(), numbers);
}

TEST(RequestLogTest, RandomSequencesAreEachAppliedOnce) {
  RequestLog log;
  std::mt19937 random(5);
  std::map<int64_t, std::set<int64_t>> applied;
  for (int i = 0; i < 20000; ++i) {
    const int64_t client = random() % 3;
    const int64_t sequence = random() % 500;
    const bool is_new = applied[client].insert(sequence).second;
    EXPECT_EQ(*log.Begin(client, sequence) == Answer::kApply, is_new);
  }
}

TEST(RequestLogTest, ThreadsThatSendTheSameApplyItOnce) {
  RequestLog log;
  std::atomic<int64_t> num_applied{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int64_t sequence = 0; sequence < 5000; ++sequence) {
        num_applied += *log.Begin(kClient, sequence) == Answer::kApply;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_applied, 5000);
  EXPECT_EQ(log.Export(), (Numbers{1, 1, kClient, 5000, 0, 0}));
}

}  // namespace
}  // namespace monolith_tf
