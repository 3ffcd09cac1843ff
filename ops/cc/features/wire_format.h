// wire_format.h
//
// The 16-bit encoding of floats between a worker and a server. The first floats
// of a message may have to be exact (learning rates): each is split into two
// halves, the lower bits first. Each other float becomes one half, a bfloat16
// or a float16, rounded to nearest (wire_loops.h).
//
// Thread-safe: immutable.

#ifndef MONOLITH_TF_OPS_CC_FEATURES_WIRE_FORMAT_H_
#define MONOLITH_TF_OPS_CC_FEATURES_WIRE_FORMAT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "ops/cc/features/wire_loops.h"
#include "ops/cc/precision/precision_loops.h"

namespace monolith_tf {

class WireFormat {
 public:
  // "bfloat16" or "float16"; InvalidArgument for any other name.
  static absl::Status Make(const std::string& name, WireFormat* format);

  static int64_t NumHalves(int64_t num_floats, int64_t num_exact) {
    return num_floats + num_exact;
  }

  // Floats [n] to one half each, and back.
  void Narrow(const float* floats, int64_t n, uint16_t* halves) const {
    narrow_(floats, n, halves);
  }
  void Widen(const uint16_t* halves, int64_t n, float* floats) const;

  // Floats [n] to two halves each, and back.
  static void SplitExact(const float* floats, int64_t n, uint16_t* halves);
  static void JoinExact(const uint16_t* halves, int64_t n, float* floats);

 private:
  NarrowLoop narrow_ = nullptr;
  DecodeLoop widen_ = nullptr;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_FEATURES_WIRE_FORMAT_H_
