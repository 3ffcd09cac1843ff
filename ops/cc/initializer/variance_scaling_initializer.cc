#include <cmath>
#include <cstdint>
#include <memory>

#include "ops/cc/initializer/initializer.h"
#include "ops/cc/initializer/initializer_loops.h"

namespace monolith_tf {
namespace {

// The deviation of a normal distribution of deviation 1 that is cut at two.
constexpr double kTruncatedDeviation = 0.87962566103423978;

// As tf_keras.initializers.VarianceScaling, with dim for the fan. The two
// numbers that depend on dim are worked out in double and rounded to float
// last; a row is filled too seldom to keep them.
class VarianceScaling : public Initializer {
 public:
  VarianceScaling(float scale, Distribution distribution)
      : scale_(scale), distribution_(distribution) {}

  void Fill(uint64_t id_key, int64_t first_element, int64_t dim,
            float* row) const override {
    const double variance = scale_ / static_cast<double>(dim);
    if (distribution_ == Distribution::kUniform) {
      const auto limit = static_cast<float>(std::sqrt(3 * variance));
      uniform_(id_key, first_element, dim, -limit, limit + limit, row);
    } else if (distribution_ == Distribution::kUntruncatedNormal) {
      const auto stddev = static_cast<float>(std::sqrt(variance));
      normal_(id_key, first_element, dim, 0.0f, stddev, row);
    } else {
      const auto stddev =
          static_cast<float>(std::sqrt(variance) / kTruncatedDeviation);
      truncated_(id_key, first_element, dim, 0.0f, stddev, row);
    }
  }

 private:
  const double scale_;
  const Distribution distribution_;
  const FillLoop uniform_ = UniformLoopIn(WidestInstructionSet());
  const FillLoop normal_ = NormalLoopIn(WidestInstructionSet());
  const FillLoop truncated_ = TruncatedNormalLoopIn(WidestInstructionSet());
};

}  // namespace

std::unique_ptr<const Initializer> MakeVarianceScaling(
    float scale, Distribution distribution) {
  return std::make_unique<VarianceScaling>(scale, distribution);
}

}  // namespace monolith_tf
