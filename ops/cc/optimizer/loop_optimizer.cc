#include "ops/cc/optimizer/loop_optimizer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace monolith_tf {

LoopOptimizer::LoopOptimizer(LoopMaker loop, std::vector<float> initial_slots,
                             std::vector<float> constants)
    : loop_(loop(WidestInstructionSet())),
      initial_slots_(std::move(initial_slots)),
      constants_(std::move(constants)) {}

int64_t LoopOptimizer::slot_floats(int64_t dim) const {
  return dim * static_cast<int64_t>(initial_slots_.size());
}

void LoopOptimizer::InitializeSlots(int64_t dim, const float*,
                                    float* slots) const {
  for (const float value : initial_slots_) {
    slots = std::fill_n(slots, dim, value);
  }
}

Optimizer::Step LoopOptimizer::Prepare(float learning_rate,
                                       int64_t global_step) const {
  Step step;
  step.learning_rate = learning_rate;
  step.global_step = global_step;
  step.scalars[0] = learning_rate;
  std::copy(constants_.begin(), constants_.end(), step.scalars + 1);
  return step;
}

void LoopOptimizer::Apply(const Step& step, int64_t dim, int n,
                          float* const* weights, float* const* slots,
                          const float* const* gradients) const {
  loop_(dim, n, weights, slots, gradients, step.scalars);
}

float Complement(float number) {
  char text[32];
  for (int digits = 6; digits <= 9; ++digits) {
    std::snprintf(text, sizeof(text), "%.*g", digits, number);
    if (std::strtof(text, nullptr) == number) break;
  }
  return static_cast<float>(1.0 - std::strtod(text, nullptr));
}

}  // namespace monolith_tf
