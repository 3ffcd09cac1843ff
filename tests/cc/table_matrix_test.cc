// Everything with everything: any two values of any two factors meet in some
// case, which runs random operations against row_lifecycle_oracle.h, or is
// refused with a reason.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ops/cc/table/config_validation.h"
#include "ops/cc/table/table.h"
#include "tests/cc/row_lifecycle_oracle.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

const std::vector<OptimizerConfig> kOptimizers = {
    {"sgd", {}},
    {"sgd", {0.9f, 1}},
    {"adagrad", {0.1f, 1e-7f}},
    {"row_wise_adagrad", {0.1f, 1e-7f}},
    {"adadelta", {0.9f, 1e-6f}},
    {"rmsprop", {0.9f, 0.5f, 1e-6f, 0}},
    {"rmsprop", {0.9f, 0.5f, 1e-6f, 1}},
    {"adam", {0.9f, 0.999f, 1e-7f}},
    {"adam", {0.9f, 0.999f, 1e-7f, 1, 1}},
    {"adamw", {0.9f, 0.999f, 1e-7f, 0, 1}, {0.01f}},
    {"ftrl", {-0.5f, 0.1f, 0.01f, 0.02f, 0.03f, 0.1f}},
    {"group_adagrad", {0.1f, 1e-7f, 0.01f, 0.02f, 0.03f}},
    {"group_ftrl", {0.1f, 1.0f, 0.01f, 0.02f, 0.03f}},
    {"delay_compensated_sgd", {0.1f}},
    {"delay_compensated_adagrad", {0.1f, 0.1f, 1e-7f}},
    {"moving_average", {0.9f}},
    {"batch_softmax", {}},
};
const std::vector<PrecisionConfig> kPrecisions = {
    {"float32", {}},  {"bfloat16", {}},          {"float16", {}},
    {"int8", {1.5f}}, {"onebit", {0.5f, 12, 2}}, {"onebit", {0.5f, 12, 1}}};
const std::vector<InitializerConfig> kInitializers = {
    {"zeros", {}},
    {"constant", {0.3f}},
    {"uniform", {-1.0f, 1.0f}},
    {"normal", {0.0f, 0.1f}},
    {"truncated_normal", {0.0f, 0.1f}}};
const std::vector<std::string> kAdmissions = {"all", "count", "sketch",
                                              "probability"};
const std::vector<std::string> kPolicies = {"none", "lru", "lfu",
                                            "lowest_norm"};

enum Factor {
  kOptimizer,
  kPrecision,
  kInitializer,
  kNumSegments,
  kIsRegularized,
  kAdmission,
  kHasWindow,
  kReadsZeros,
  kHasTtl,
  kPolicy,
  kTracksChanges,
  kInParts,
  kHasCapacity,
  kNumFactors
};
constexpr std::array<int, kNumFactors> kNumValues = {17, 6, 5, 3, 2, 4, 2,
                                                     2,  2, 4, 2, 2, 2};
using Case = std::array<int, kNumFactors>;
// Two factors, the first the smaller, and their values.
using Pair = std::tuple<int, int, int, int>;

// Why a pair is refused, or nothing.
std::string RefusalOf(int first, int first_value, int second,
                      int second_value) {
  if (first == kOptimizer && second == kIsRegularized && second_value == 1 &&
      first_value >= 15) {
    return "its row is a statistic";
  }
  if (first == kAdmission && second == kHasWindow && second_value == 1 &&
      (first_value == 0 || first_value == 3)) {
    return "requires a kind that counts";
  }
  if (second == kTracksChanges && second_value == 0 &&
      ((first == kHasTtl && first_value == 1) ||
       (first == kPolicy && (first_value == 1 || first_value == 2)))) {
    return "because they read times of rows";
  }
  return "";
}

std::set<Pair> AllPairs(bool is_refused) {
  std::set<Pair> pairs;
  for (int a = 0; a < kNumFactors; ++a) {
    for (int b = a + 1; b < kNumFactors; ++b) {
      for (int i = 0; i < kNumValues[a]; ++i) {
        for (int j = 0; j < kNumValues[b]; ++j) {
          if (!RefusalOf(a, i, b, j).empty() == is_refused) {
            pairs.insert({a, i, b, j});
          }
        }
      }
    }
  }
  return pairs;
}

Pair PairOf(int a, int i, int b, int j) {
  return a < b ? Pair(a, i, b, j) : Pair(b, j, a, i);
}

bool IsRefused(const Pair& pair) {
  const auto [a, i, b, j] = pair;
  return !RefusalOf(a, i, b, j).empty();
}

// Cases that hold all pairs that are not refused: each starts from a pair that
// is still to be held, and takes the values that bring the most others.
std::vector<Case> PairwiseCases() {
  std::set<Pair> left = AllPairs(/*is_refused=*/false);
  std::mt19937_64 random(1);
  std::vector<Case> cases;
  while (!left.empty()) {
    Case made;
    made.fill(-1);
    const auto [a, i, b, j] = *left.begin();
    made[a] = i;
    made[b] = j;
    std::vector<int> order;
    for (int factor = 0; factor < kNumFactors; ++factor) {
      if (made[factor] < 0) order.push_back(factor);
    }
    std::shuffle(order.begin(), order.end(), random);
    for (const int factor : order) {
      int best = -1;
      const int first = static_cast<int>(random() % kNumValues[factor]);
      for (int v = 0; v < kNumValues[factor]; ++v) {
        const int value = (first + v) % kNumValues[factor];
        int gain = 0;
        for (int other = 0; other < kNumFactors; ++other) {
          if (made[other] < 0) continue;
          const Pair pair = PairOf(factor, value, other, made[other]);
          gain = IsRefused(pair) || gain < 0 ? -1 : gain + left.count(pair);
        }
        if (gain > best) {
          best = gain;
          made[factor] = value;
        }
      }
    }
    for (int x = 0; x < kNumFactors; ++x) {
      for (int y = x + 1; y < kNumFactors; ++y) {
        left.erase({x, made[x], y, made[y]});
      }
    }
    cases.push_back(made);
  }
  return cases;
}

TableConfig ConfigOf(const Case& factors) {
  TableConfig config;
  config.name = "movie";
  config.seed = 7;
  const int64_t dims[] = {4, 1, 19};
  for (int s = 0; s <= factors[kNumSegments]; ++s) {
    SegmentConfig segment;
    segment.dim = dims[s];
    segment.optimizer = kOptimizers[(factors[kOptimizer] + 5 * s) % 17];
    if (factors[kIsRegularized] == 1 && s == 0) {
      segment.optimizer.regularization = {0.01f, 0.02f, 0.5f, 1.0f, 2.0f};
    }
    segment.precision = kPrecisions[(factors[kPrecision] + 2 * s) % 5];
    segment.initializer = kInitializers[(factors[kInitializer] + s) % 5];
    config.segments.push_back(segment);
  }
  AdmissionConfig& admission = config.admission;
  admission.kind = kAdmissions[factors[kAdmission]];
  admission.window_seconds = factors[kHasWindow] == 1 ? 60 : 0;
  admission.reads_zeros = factors[kReadsZeros] == 1;
  if (factors[kAdmission] == 1 || factors[kAdmission] == 2) {
    admission.min_count = 3;
  }
  if (factors[kAdmission] == 2) admission.sketch_bytes = 1 << 22;
  if (factors[kAdmission] == 3) admission.probability = 0.25f;
  config.eviction.ttl_seconds = factors[kHasTtl] == 1 ? 100 : 0;
  if (factors[kPolicy] > 0) {
    config.eviction.max_rows = 60;
    config.eviction.policy = kPolicies[factors[kPolicy]];
  }
  config.tracks_changes = factors[kTracksChanges] == 1;
  // Fewer than there come to be.
  if (factors[kHasCapacity] == 1) config.initial_capacity = 50;
  return config;
}

class RandomLife {
 public:
  RandomLife(const Case& factors, uint64_t seed)
      : config_(ConfigOf(factors)),
        num_parts_(factors[kInParts] == 1 ? 3 : 1),
        table_(MakeTable(config_)),
        oracle_(config_),
        random_(seed) {}

  void Go() {
    ASSERT_EQ(table_->row_width(), oracle_.width());
    for (int i = 0; i < 40 && !::testing::Test::HasFatalFailure(); ++i) {
      MoveClock();
      switch (random_() % 12) {
        case 0:
          Assign();
          break;
        case 1:
          Import();
          break;
        case 2:
          Remove();
          break;
        case 3:
          if (i % 3 == 0) {
            table_->Clear();
            oracle_.Clear();
          }
          break;
        default:
          Apply();
      }
      Compare();
    }
  }

 private:
  static constexpr int64_t kNumIds = 150;

  // Time passes; where the order of evictions would show how far the sweep has
  // come, it comes to the end.
  void MoveClock() {
    clock_ += random_() % 40;
    if (random_() % 4 != 0 && !config_.eviction.has_cap()) return;
    const int64_t gone = table_->Sweep(clock_);
    EXPECT_GE(gone, 0);
    oracle_.SeeTime(clock_);
    oracle_.Sweep();
  }

  static int64_t IdOf(uint64_t number) {
    return static_cast<int64_t>(number * 0x123456789ABCDEF);
  }
  std::vector<int64_t> RandomIds() {
    std::vector<int64_t> ids(random_() % 40);
    for (int64_t& id : ids) {
      id = IdOf(random_() % kNumIds);
    }
    return ids;
  }
  float RandomFloat() {
    return static_cast<float>(random_() % 2001) / 1000.0f - 1.0f;
  }
  // Events come late, but not so late that their rows are old at once.
  int64_t RandomTime() {
    return clock_ - std::min<int64_t>(clock_, random_() % 30);
  }
  // Calls work(part) for all parts at once.
  template <typename Work>
  void InParts(const Work& work) {
    std::vector<std::thread> threads;
    for (int part = 0; part < num_parts_; ++part) {
      threads.emplace_back([&work, part, this] {
        EXPECT_TRUE(work(StripePart{part, num_parts_}).ok());
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  void Apply() {
    const std::vector<int64_t> ids = RandomIds();
    const bool counts_occurrences =
        config_.admission.kind == "count" || config_.admission.kind == "sketch";
    std::vector<int64_t> counts(ids.size());
    for (int64_t& count : counts) {
      count = 1 + random_() % 2;
      int64_t bar = 0;
      const bool is_by_lot = random_() % 5 == 0;
      if (is_by_lot) {
        // From 1 in 64 to always.
        bar = kCertainThreshold - static_cast<int64_t>(random_() % (6 << 11));
      } else if (random_() % 4 == 0) {
        bar = counts_occurrences ? 5 : 1;
      }
      int64_t own_ttl = 0;
      const int64_t ttl = config_.eviction.ttl_seconds;
      if (ttl > 0 && random_() % 4 == 0) {
        // With the latest events no row is old at once: that would show how
        // far the sweep has come, and where a batch has an id twice.
        own_ttl = ttl - static_cast<int64_t>(random_() % (ttl - 30));
      }
      count = PackCount(count, PackOverrides(bar, own_ttl, is_by_lot));
    }
    std::vector<float> gradients(ids.size() * table_->dim());
    for (float& gradient : gradients) gradient = RandomFloat();
    if (!gradients.empty() && random_() % 4 == 0) {
      gradients[random_() % gradients.size()] =
          std::numeric_limits<float>::quiet_NaN();
    }
    std::vector<float> rates;
    for (int s = 0; s < table_->num_segments(); ++s) {
      rates.push_back(0.1f + 0.1f * static_cast<float>(s));
    }
    const int64_t time = RandomTime();
    // Steps of several workers arrive out of order.
    const int64_t step = ++step_ + random_() % 3;
    ApplyRequest request;
    request.ids = ids.data();
    request.counts = counts.data();
    request.gradients = gradients.data();
    request.n = static_cast<int64_t>(ids.size());
    request.global_step = step;
    request.event_time = time;
    request.learning_rates = rates.data();
    ASSERT_TRUE(table_->Check(request).ok()) << table_->Check(request);
    const RunningUpdate update = table_->BeginParts(request);
    InParts([&](StripePart part) {
      return table_->ApplyPart(request, update, part);
    });
    table_->EndUpdate(update);
    // Also an update of no ids moves the clock.
    oracle_.SeeTime(time);
    oracle_.SeeStep(step);
    oracle_.BeginUpdate();
    for (size_t i = 0; i < ids.size(); ++i) {
      oracle_.Step(ids[i], counts[i], &gradients[i * table_->dim()], rates,
                   step, time);
    }
    oracle_.EndUpdate();
  }

  void Assign() {
    const std::vector<int64_t> ids = RandomIds();
    std::vector<float> weights(ids.size() * table_->dim());
    for (float& weight : weights) weight = RandomFloat();
    const int64_t time = RandomTime();
    const RunningUpdate update = table_->BeginUpdate();
    InParts([&](StripePart part) {
      return table_->AssignPart(ids.data(), weights.data(), ids.size(), time,
                                update, part);
    });
    table_->EndUpdate(update);
    if (ids.empty()) return;
    oracle_.SeeTime(time);
    oracle_.BeginUpdate();
    for (size_t i = 0; i < ids.size(); ++i) {
      oracle_.Assign(ids[i], &weights[i * table_->dim()], time);
    }
    oracle_.EndUpdate();
  }

  void Import() {
    const std::vector<int64_t> ids = RandomIds();
    std::vector<int64_t> stamps(ids.size());
    std::vector<std::vector<float>> rows(ids.size());
    std::vector<float> floats;
    for (size_t i = 0; i < ids.size(); ++i) {
      stamps[i] = RandomTime() | static_cast<int64_t>(random_() % 16) << 32;
      rows[i] = oracle_.InitialFloats(ids[i]);
      for (int64_t j = 0; j < table_->dim(); ++j) rows[i][j] = RandomFloat();
      floats.insert(floats.end(), rows[i].begin(), rows[i].end());
    }
    const RunningUpdate update = table_->BeginUpdate();
    InParts([&](StripePart part) {
      return table_->ImportPart(ids.data(), stamps.data(), floats.data(),
                                ids.size(), part);
    });
    table_->EndUpdate(update);
    for (const int64_t stamp : stamps) oracle_.SeeTime(stamp & 0xFFFFFFFF);
    oracle_.BeginUpdate();
    for (size_t i = 0; i < ids.size(); ++i) {
      oracle_.Import(ids[i], rows[i], stamps[i]);
    }
    oracle_.EndUpdate();
  }

  void Remove() {
    const std::vector<int64_t> ids = RandomIds();
    int64_t num_removed = 0;
    for (const int64_t id : ids) num_removed += oracle_.Remove(id);
    const int64_t removed = table_->Remove(ids.data(), ids.size());
    if (config_.eviction.ttl_seconds == 0) {
      ASSERT_EQ(removed, num_removed);
    } else {
      ASSERT_LE(removed, num_removed);
    }
  }

  void Compare() {
    const auto exported = Export(*table_);
    for (const auto& [id, saved] : exported) {
      const auto found = oracle_.rows().find(id);
      ASSERT_NE(found, oracle_.rows().end()) << "id " << id;
      ASSERT_EQ(saved.floats, found->second.floats) << "id " << id;
      ASSERT_EQ(saved.stamp, oracle_.StampOf(found->second)) << "id " << id;
    }
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < kNumIds; ++i) ids.push_back(IdOf(i));
    const std::vector<float> values = Rows(*table_, ids);
    const std::vector<bool> exists = Exists(*table_, ids);
    for (int64_t i = 0; i < kNumIds; ++i) {
      const auto found = oracle_.rows().find(ids[i]);
      const bool has_row = found != oracle_.rows().end();
      ASSERT_EQ(exists[i], exported.count(ids[i]) == 1);
      ASSERT_TRUE(exists[i] || !has_row || oracle_.IsGone(found->second));
      const auto begin = values.begin() + i * table_->dim();
      ASSERT_EQ(std::vector<float>(begin, begin + table_->dim()),
                exists[i] ? oracle_.ValuesOf(found->second)
                          : oracle_.ValuesWithout(ids[i]));
    }
  }

  const TableConfig config_;
  const int num_parts_;
  const std::unique_ptr<Table> table_;
  RowLifecycleOracle oracle_;
  std::mt19937_64 random_;
  int64_t clock_ = 1000;
  int64_t step_ = 0;
};

TEST(TableMatrixTest, AnyTwoFactorsWorkTogether) {
  const std::vector<Case> cases = PairwiseCases();
  std::set<Pair> left = AllPairs(/*is_refused=*/false);
  for (size_t number = 0; number < cases.size(); ++number) {
    const TableConfig config = ConfigOf(cases[number]);
    SCOPED_TRACE(absl::StrCat("case ", number,
                              ", in parts: ", cases[number][kInParts], ", ",
                              config.DebugString()));
    ASSERT_TRUE(ValidateConfig(config).ok()) << ValidateConfig(config);
    for (const uint64_t seed : {1, 2}) RandomLife(cases[number], seed).Go();
    if (HasFatalFailure()) return;
    for (int a = 0; a < kNumFactors; ++a) {
      for (int b = a + 1; b < kNumFactors; ++b) {
        left.erase({a, cases[number][a], b, cases[number][b]});
      }
    }
  }
  EXPECT_TRUE(left.empty());
  EXPECT_GE(cases.size(), 17u * 5);
  EXPECT_LE(cases.size(), 17u * 5 * 2);
}

TEST(TableMatrixTest, WhatDoesNotGoTogetherIsRefusedWithAReason) {
  for (const auto& [a, i, b, j] : AllPairs(/*is_refused=*/true)) {
    Case factors = {};
    factors[kTracksChanges] = 1;
    factors[a] = i;
    factors[b] = j;
    ExpectError(ValidateConfig(ConfigOf(factors)),
                absl::StatusCode::kInvalidArgument,
                {"Table 'movie': ", RefusalOf(a, i, b, j), "Received: "});
  }
}

}  // namespace
}  // namespace monolith_tf
