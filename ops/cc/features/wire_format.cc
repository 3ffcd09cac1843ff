#include "ops/cc/features/wire_format.h"

#include <cstdint>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace monolith_tf {

absl::Status WireFormat::Make(const std::string& name, WireFormat* format) {
  const InstructionSet set = WidestInstructionSet();
  if (name == "bfloat16") {
    format->narrow_ = NarrowToBfloat16In(set);
    format->widen_ = Bfloat16LoopsIn(set).decode;
  } else if (name == "float16") {
    format->narrow_ = NarrowToFloat16In(set);
    format->widen_ = Float16LoopsIn(set).decode;
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "`format` must be 'bfloat16' or 'float16'. Received: '", name, "'"));
  }
  return absl::OkStatus();
}

void WireFormat::Widen(const uint16_t* halves, int64_t n, float* floats) const {
  widen_(reinterpret_cast<const char*>(halves), n, 0.0f, floats);
}

void WireFormat::SplitExact(const float* floats, int64_t n, uint16_t* halves) {
  for (int64_t j = 0; j < n; ++j) {
    uint32_t bits;
    std::memcpy(&bits, floats + j, sizeof(bits));
    halves[2 * j] = static_cast<uint16_t>(bits);
    halves[2 * j + 1] = static_cast<uint16_t>(bits >> 16);
  }
}

void WireFormat::JoinExact(const uint16_t* halves, int64_t n, float* floats) {
  for (int64_t j = 0; j < n; ++j) {
    const uint32_t bits = halves[2 * j] | uint32_t{halves[2 * j + 1]} << 16;
    std::memcpy(floats + j, &bits, sizeof(bits));
  }
}

}  // namespace monolith_tf
