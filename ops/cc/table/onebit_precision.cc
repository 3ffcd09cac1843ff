#include <algorithm>
#include <cstdint>
#include <memory>

#include "ops/cc/table/precision.h"
#include "ops/cc/table/precision_loops.h"
#include "ops/cc/table/straight_through.h"

namespace monolith_tf {
namespace {

class Onebit : public Precision {
 public:
  Onebit(float amplitude, float anneal_steps)
      : amplitude_(amplitude), anneal_steps_(anneal_steps) {}

  int64_t bytes(int64_t dim) const override { return 2 * dim; }

  void Decode(const char* stored, int64_t dim, float* weights) const override {
    loops_.decode(stored, dim, 0.0f, weights);
  }

  void Encode(const float* weights, int64_t dim, uint64_t key,
              char* stored) const override {
    loops_.encode(weights, dim, key, 0.0f, stored);
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
    if (IsAnnealed(step)) {
      StopAtLimit(weights, dim, amplitude_, gradient);
    } else {
      tanh_gradient_(weights, dim, Slope(step), amplitude_, gradient);
    }
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
  // Latent weights are bfloat16.
  const PrecisionLoops loops_ = Bfloat16LoopsIn(WidestInstructionSet());
  const TanhLoop tanh_ = TanhLoopIn(WidestInstructionSet());
  const TanhLoop tanh_gradient_ = TanhGradientLoopIn(WidestInstructionSet());
};

}  // namespace

std::unique_ptr<const Precision> MakeOnebit(float amplitude,
                                            float anneal_steps) {
  return std::make_unique<Onebit>(amplitude, anneal_steps);
}

}  // namespace monolith_tf
