#include <algorithm>
#include <cstdint>
#include <memory>

#include "ops/cc/precision/precision.h"
#include "ops/cc/precision/precision_loops.h"
#include "ops/cc/precision/straight_through.h"

namespace monolith_tf {
namespace {

class Onebit : public Precision {
 public:
  Onebit(float amplitude, float anneal_steps, int bytes)
      : amplitude_(amplitude),
        anneal_steps_(anneal_steps),
        is_in_levels_(bytes == 1) {}

  int64_t bytes(int64_t dim) const override {
    return is_in_levels_ ? (dim + 1) / 2 * 2 : 2 * dim;
  }

  void Decode(const char* stored, int64_t dim, float* weights) const override {
    loops_.decode(stored, dim, level_, weights);
  }

  void Encode(const float* weights, int64_t dim, uint64_t key,
              char* stored) const override {
    loops_.encode(weights, dim, key, level_, stored);
    // Equal rows have equal bytes.
    if (is_in_levels_ && dim % 2 != 0) stored[dim] = 0;
  }

  void Forward(const float* weights, int64_t dim, int64_t step,
               float* values) const override {
    if (IsAnnealed(step)) {
      for (int64_t j = 0; j < dim; ++j) {
        values[j] = weights[j] < 0 ? -amplitude_ : amplitude_;
      }
    } else {
      tanh_(weights, dim, Slope(step), amplitude_, values);
    }
  }

  void Backward(const float* weights, int64_t dim, int64_t step,
                float* gradient) const override {
    if (!IsAnnealed(step)) {
      tanh_gradient_(weights, dim, Slope(step), amplitude_, gradient);
      if (!is_in_levels_) return;
    }
    StopAtLimit(weights, dim, is_in_levels_ ? 127 * level_ : amplitude_,
                gradient);
  }

  double Steepness(int64_t step) const override {
    return IsAnnealed(step) ? 1 : Beta(step);
  }

  bool has_forward() const override { return true; }

 private:
  bool IsAnnealed(int64_t step) const {
    return static_cast<double>(step) >= anneal_steps_;
  }

  double Beta(int64_t step) const {
    const double done = static_cast<double>(std::max<int64_t>(step, 0));
    return anneal_steps_ / (anneal_steps_ - done);
  }
  double Slope(int64_t step) const { return Beta(step) / amplitude_; }

  const float amplitude_;
  const double anneal_steps_;
  // Latent weights are levels of 127 to each side, or bfloat16.
  const bool is_in_levels_;
  const float level_ = amplitude_ / 127;
  const PrecisionLoops loops_ = is_in_levels_
                                    ? Int8LoopsIn(WidestInstructionSet())
                                    : Bfloat16LoopsIn(WidestInstructionSet());
  const TanhLoop tanh_ = TanhLoopIn(WidestInstructionSet());
  const TanhLoop tanh_gradient_ = TanhGradientLoopIn(WidestInstructionSet());
};

}  // namespace

std::unique_ptr<const Precision> MakeOnebit(float amplitude, float anneal_steps,
                                            int bytes) {
  return std::make_unique<Onebit>(amplitude, anneal_steps, bytes);
}

}  // namespace monolith_tf
