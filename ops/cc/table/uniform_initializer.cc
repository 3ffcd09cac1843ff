#include <cstdint>
#include <memory>

#include "ops/cc/table/hash.h"
#include "ops/cc/table/initializer.h"

namespace monolith_tf {
namespace {

class Uniform : public Initializer {
 public:
  Uniform(float minval, float maxval)
      : minval_(minval), range_(maxval - minval) {}

  void Fill(uint64_t id_key, int64_t first_element, int64_t dim,
            float* row) const override {
    // 24 random bits fit a float exactly, so only the last two operations
    // round.
    constexpr float kUnit = 1.0f / (1 << 24);
    for (int64_t j = 0; j < dim; ++j) {
      const auto bits =
          static_cast<int32_t>(ElementBits(id_key, first_element + j) >> 40);
      row[j] = minval_ + (static_cast<float>(bits) * kUnit) * range_;
    }
  }

 private:
  const float minval_;
  const float range_;
};

}  // namespace

std::unique_ptr<const Initializer> MakeUniform(float minval, float maxval) {
  return std::make_unique<Uniform>(minval, maxval);
}

}  // namespace monolith_tf
