#include "ops/cc/optimizer/optimizer.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ops/cc/optimizer/optimizer_families.h"
#include "ops/cc/optimizer/row_loops.h"

namespace monolith_tf {
namespace {

bool IsFraction(float x) { return x >= 0 && x < 1; }
bool IsFlag(float x) { return x == 0 || x == 1; }

// A kind of optimizer: how many hyperparameters it takes (those that may be
// left out are 0), which are valid, what it is made by.
struct Family {
  const char* kind;
  const char* takes;
  size_t min_hyperparameters;
  size_t max_hyperparameters;
  bool (*are_valid)(const float* h);
  OptimizerPtr (*make)(const float* h);
  bool has_regularization = true;
};

bool AreAdagrad(const float* h) {
  // With both zero, a zero in the first gradient would be 0 / 0.
  return h[0] >= 0 && h[1] >= 0 && h[0] + h[1] > 0;
}

bool AreAdam(const float* h) {
  return IsFraction(h[0]) && IsFraction(h[1]) && h[2] > 0 && IsFlag(h[3]) &&
         IsFlag(h[4]);
}

OptimizerPtr MakeAdamOf(const float* h) {
  return MakeAdam(h[0], h[1], h[2], h[3] == 1, h[4] == 1);
}

constexpr char kAdamTakes[] =
    "{0 <= beta_1 < 1, 0 <= beta_2 < 1, epsilon > 0} and perhaps {amsgrad, "
    "per_row_step}, each 0 or 1";

const Family kFamilies[] = {
    {"sgd", "{} or {0 <= momentum <= 1, nesterov: 0 or 1}", 0, 2,
     [](const float* h) { return h[0] >= 0 && h[0] <= 1 && IsFlag(h[1]); },
     [](const float* h) { return MakeSgd(h[0], h[1] == 1); }},
    {"adagrad", "{initial_accumulator >= 0, epsilon >= 0}, not both 0", 2, 2,
     AreAdagrad, [](const float* h) { return MakeAdagrad(h[0], h[1]); }},
    {"row_wise_adagrad", "{initial_accumulator >= 0, epsilon >= 0}, not both 0",
     2, 2, AreAdagrad,
     [](const float* h) { return MakeRowWiseAdagrad(h[0], h[1]); }},
    {"adadelta", "{0 <= rho < 1, epsilon > 0}", 2, 2,
     [](const float* h) { return IsFraction(h[0]) && h[1] > 0; },
     [](const float* h) { return MakeAdadelta(h[0], h[1]); }},
    {"rmsprop",
     "{0 <= rho < 1, 0 <= momentum <= 1, epsilon > 0, centered: 0 or 1}", 4, 4,
     [](const float* h) {
       return IsFraction(h[0]) && h[1] >= 0 && h[1] <= 1 && h[2] > 0 &&
              IsFlag(h[3]);
     },
     [](const float* h) { return MakeRmsprop(h[0], h[1], h[2], h[3] == 1); }},
    {"adam", kAdamTakes, 3, 5, AreAdam, MakeAdamOf},
    {"adamw", kAdamTakes, 3, 5, AreAdam, MakeAdamOf},
    {"ftrl",
     "{-1 <= learning_rate_power <= 0, initial_accumulator >= 0, l1 >= 0, l2 "
     ">= 0, l2_shrinkage >= 0, beta >= 0}",
     6, 6,
     [](const float* h) {
       return h[0] >= -1 && h[0] <= 0 && h[1] >= 0 && h[2] >= 0 && h[3] >= 0 &&
              h[4] >= 0 && h[5] >= 0;
     },
     [](const float* h) {
       return MakeFtrl({h[0], h[1], h[2], h[3], h[4], h[5]});
     }},
    {"group_adagrad",
     "{initial_accumulator >= 0, epsilon >= 0, l1 >= 0, l2 >= 0, l21 >= 0}, "
     "the first two not both 0",
     5, 5,
     [](const float* h) {
       return AreAdagrad(h) && h[2] >= 0 && h[3] >= 0 && h[4] >= 0;
     },
     [](const float* h) {
       return MakeGroupAdagrad(h[0], h[1], h[2], h[3], h[4]);
     }},
    {"group_ftrl",
     "{initial_accumulator >= 0, beta >= 0, l1 >= 0, l2 >= 0, l21 >= 0}", 5, 5,
     [](const float* h) {
       return h[0] >= 0 && h[1] >= 0 && h[2] >= 0 && h[3] >= 0 && h[4] >= 0;
     },
     [](const float* h) {
       return MakeGroupFtrl(h[0], h[1], h[2], h[3], h[4]);
     }},
    {"delay_compensated_sgd", "{variance_control >= 0}", 1, 1,
     [](const float* h) { return h[0] >= 0; },
     [](const float* h) { return MakeDelayCompensatedSgd(h[0]); }},
    {"delay_compensated_adagrad",
     "{variance_control >= 0, initial_accumulator >= 0, epsilon >= 0}, the "
     "last two not both 0",
     3, 3, [](const float* h) { return h[0] >= 0 && AreAdagrad(h + 1); },
     [](const float* h) {
       return MakeDelayCompensatedAdagrad(h[0], h[1], h[2]);
     }},
    {"moving_average", "{0 <= momentum <= 1}", 1, 1,
     [](const float* h) { return h[0] >= 0 && h[0] <= 1; },
     [](const float* h) { return MakeMovingAverage(h[0]); }, false},
    {"batch_softmax", "{}", 0, 0, [](const float*) { return true; },
     [](const float*) { return MakeBatchSoftmax(); }, false},
};

absl::Status CheckHyperparameters(const Family& family,
                                  const std::vector<float>& passed,
                                  float* hyperparameters) {
  bool valid = passed.size() == family.min_hyperparameters ||
               passed.size() == family.max_hyperparameters;
  for (size_t i = 0; valid && i < passed.size(); ++i) {
    hyperparameters[i] = passed[i];
    valid = std::isfinite(passed[i]);
  }
  if (valid && family.are_valid(hyperparameters)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "optimizer '", family.kind, "' takes hyperparameters ", family.takes,
      ". Received: {", absl::StrJoin(passed, ", "), "}"));
}

bool IsOn(const RegularizationConfig& config) {
  return config != RegularizationConfig();
}

absl::Status CheckRegularization(const Family& family,
                                 const RegularizationConfig& config) {
  const float numbers[] = {config.weight_decay, config.l2, config.clip_value,
                           config.clip_norm, config.max_norm};
  bool valid = true;
  for (const float number : numbers) {
    valid = valid && std::isfinite(number) && number >= 0;
  }
  if (!valid || (IsOn(config) && !family.has_regularization)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "optimizer '", family.kind, "' takes regularization {weight_decay, ",
        "l2, clip_value, clip_norm, max_norm}, each ",
        family.has_regularization ? ">= 0 and 0 for none"
                                  : "0: its row is a statistic, not a weight",
        ". Received: {", absl::StrJoin(numbers, ", "), "}"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Optimizer>> MakeOptimizer(
    const OptimizerConfig& config) {
  for (const Family& family : kFamilies) {
    if (config.kind != family.kind) continue;
    float hyperparameters[8] = {};
    absl::Status status =
        CheckHyperparameters(family, config.hyperparameters, hyperparameters);
    status.Update(CheckRegularization(family, config.regularization));
    if (!status.ok()) return status;
    OptimizerPtr made = family.make(hyperparameters);
    if (!IsOn(config.regularization)) return made;
    return MakeRegularized(std::move(made), config.regularization);
  }
  const auto quote = [](std::string* out, const Family& family) {
    absl::StrAppend(out, "'", family.kind, "'");
  };
  return absl::InvalidArgumentError(absl::StrCat(
      "optimizer must be one of ", absl::StrJoin(kFamilies, ", ", quote),
      ". Received: '", config.kind, "'"));
}

bool FiniteAndBounded(const float* gradient, int64_t n) {
  static const BoundedLoop loop = FiniteAndBoundedLoop(WidestInstructionSet());
  return loop(n, gradient);
}

}  // namespace monolith_tf
