#include <algorithm>
#include <cstdint>
#include <memory>

#include "ops/cc/initializer/initializer.h"

namespace monolith_tf {
namespace {

class Constant : public Initializer {
 public:
  explicit Constant(float value) : value_(value) {}

  void Fill(uint64_t, int64_t, int64_t dim, float* row) const override {
    std::fill_n(row, dim, value_);
  }

 private:
  const float value_;
};

}  // namespace

std::unique_ptr<const Initializer> MakeConstant(float value) {
  return std::make_unique<Constant>(value);
}

}  // namespace monolith_tf
