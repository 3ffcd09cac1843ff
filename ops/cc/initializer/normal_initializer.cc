#include <cstdint>
#include <memory>

#include "ops/cc/initializer/initializer.h"
#include "ops/cc/initializer/initializer_loops.h"

namespace monolith_tf {
namespace {

class Normal : public Initializer {
 public:
  Normal(float mean, float stddev, FillLoop loop)
      : mean_(mean), stddev_(stddev), loop_(loop) {}

  void Fill(uint64_t id_key, int64_t first_element, int64_t dim,
            float* row) const override {
    loop_(id_key, first_element, dim, mean_, stddev_, row);
  }

 private:
  const float mean_;
  const float stddev_;
  const FillLoop loop_;
};

}  // namespace

std::unique_ptr<const Initializer> MakeNormal(float mean, float stddev) {
  return std::make_unique<Normal>(mean, stddev,
                                  NormalLoopIn(WidestInstructionSet()));
}

std::unique_ptr<const Initializer> MakeTruncatedNormal(float mean,
                                                       float stddev) {
  return std::make_unique<Normal>(
      mean, stddev, TruncatedNormalLoopIn(WidestInstructionSet()));
}

}  // namespace monolith_tf
