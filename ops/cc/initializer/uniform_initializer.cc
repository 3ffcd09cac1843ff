#include <cstdint>
#include <memory>

#include "ops/cc/initializer/initializer.h"
#include "ops/cc/initializer/initializer_loops.h"

namespace monolith_tf {
namespace {

class Uniform : public Initializer {
 public:
  Uniform(float minval, float maxval)
      : minval_(minval), range_(maxval - minval) {}

  void Fill(uint64_t id_key, int64_t first_element, int64_t dim,
            float* row) const override {
    loop_(id_key, first_element, dim, minval_, range_, row);
  }

 private:
  const float minval_;
  const float range_;
  const FillLoop loop_ = UniformLoopIn(WidestInstructionSet());
};

}  // namespace

std::unique_ptr<const Initializer> MakeUniform(float minval, float maxval) {
  return std::make_unique<Uniform>(minval, maxval);
}

}  // namespace monolith_tf
