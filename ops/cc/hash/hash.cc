#include "ops/cc/hash/hash.h"

#include <cstdint>
#include <random>

namespace monolith_tf {

KeyedHash KeyedHash::OfProcess() {
  static const KeyedHash hash = [] {
    std::random_device device;
    const auto draw = [&device] {
      const uint64_t high = device();
      return (high << 32) | device();
    };
    const uint64_t first = draw();
    return KeyedHash(first, draw());
  }();
  return hash;
}

}  // namespace monolith_tf
