#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "ops/cc/precision/precision.h"

namespace monolith_tf {
namespace {

class Float32 : public Precision {
 public:
  int64_t bytes(int64_t dim) const override { return dim * sizeof(float); }

  void Decode(const char* stored, int64_t dim, float* weights) const override {
    std::memcpy(weights, stored, static_cast<size_t>(bytes(dim)));
  }

  void Encode(const float* weights, int64_t dim, uint64_t,
              char* stored) const override {
    std::memcpy(stored, weights, static_cast<size_t>(bytes(dim)));
  }

  bool is_float32() const override { return true; }
};

}  // namespace

std::unique_ptr<const Precision> MakeFloat32() {
  return std::make_unique<Float32>();
}

}  // namespace monolith_tf
