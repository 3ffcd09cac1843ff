#include <cstdint>
#include <memory>

#include "ops/cc/table/hash.h"
#include "ops/cc/table/initializer.h"
#include "ops/cc/table/normal_quantile.h"

namespace monolith_tf {
namespace {

class TruncatedNormal : public Initializer {
 public:
  TruncatedNormal(float mean, float stddev) : mean_(mean), stddev_(stddev) {}

  void Fill(uint64_t id_key, int64_t first_element, int64_t dim,
            float* row) const override {
    // The middle of one of 2^52 equal parts of (0, 1), mapped to the
    // probabilities within two deviations.
    constexpr double kUnit = 1.0 / (int64_t{1} << 52);
    for (int64_t j = 0; j < dim; ++j) {
      const auto bits =
          static_cast<int64_t>(ElementBits(id_key, first_element + j) >> 12);
      const double p = (static_cast<double>(bits) + 0.5) * kUnit;
      const double q = (p - 0.5) * kTwoDeviationsProbability;
      row[j] = mean_ + stddev_ * static_cast<float>(NormalQuantile(q));
    }
  }

 private:
  const float mean_;
  const float stddev_;
};

}  // namespace

std::unique_ptr<const Initializer> MakeTruncatedNormal(float mean,
                                                       float stddev) {
  return std::make_unique<TruncatedNormal>(mean, stddev);
}

}  // namespace monolith_tf
