// The event time of an update, and the request id that may come with it.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_STAMPED_TIME_H_
#define MONOLITH_TF_OPS_CC_KERNELS_STAMPED_TIME_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace monolith_tf {

// The packed tensor of an update begins with its global step and its event
// time. Bit 62 of the time says that two more numbers follow: the client and
// the sequence of a request. A time that is too large, such as one in
// milliseconds or nanoseconds, does not reach bit 62 and is refused as a time.
struct StampedTime {
  static constexpr int64_t kHasRequest = int64_t{1} << 62;
  // Numbers of the step, the time and, if there is one, the request.
  static constexpr int64_t kPrefix = 2;
  static constexpr int64_t kPrefixWithRequest = 4;

  int64_t event_time = 0;
  bool has_request = false;
  int64_t client = 0;
  int64_t sequence = 0;

  // Input `event_time`: a scalar, or [3] with client and sequence. Without a
  // request, the sequence is -1.
  static absl::Status Get(tensorflow::OpKernelContext* context,
                          StampedTime* out) {
    const tensorflow::Tensor* tensor = nullptr;
    TF_RETURN_IF_ERROR(context->input("event_time", &tensor));
    const bool is_scalar = tensor->dims() == 0;
    if (!is_scalar && (tensor->dims() != 1 || tensor->dim_size(0) != 3)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "event_time must be a scalar, or [3] with a client and a sequence. "
          "Received: shape ",
          tensor->shape().DebugString(), "."));
    }
    const auto numbers = tensor->flat<int64_t>();
    out->event_time = numbers(0);
    out->has_request = !is_scalar && numbers(2) != -1;
    if (!out->has_request) return absl::OkStatus();
    out->client = numbers(1);
    out->sequence = numbers(2);
    return absl::OkStatus();
  }

  // How many numbers `packed` begins with.
  static int64_t PrefixOf(const tensorflow::Tensor& packed) {
    if (packed.dims() != 1 || packed.NumElements() < kPrefix) return kPrefix;
    const int64_t time = packed.flat<int64_t>()(1);
    return time >= 0 && (time & kHasRequest) != 0 ? kPrefixWithRequest
                                                  : kPrefix;
  }

  // Writes what Read reads, behind the global step. Returns the place after it.
  int64_t* Write(int64_t* numbers) const {
    // A time that is no time stays one, so that the server refuses it.
    const bool is_time = event_time >= 0 && event_time <= UINT32_MAX;
    *numbers++ = has_request && is_time ? event_time | kHasRequest : event_time;
    if (!has_request || !is_time) return numbers;
    *numbers++ = client;
    *numbers++ = sequence;
    return numbers;
  }
  int64_t prefix() const {
    const bool is_time = event_time >= 0 && event_time <= UINT32_MAX;
    return has_request && is_time ? kPrefixWithRequest : kPrefix;
  }

  // From the first numbers of an update.
  static StampedTime Read(const int64_t* prefix, int64_t size) {
    StampedTime time;
    time.event_time = prefix[1];
    time.has_request = size == kPrefixWithRequest;
    if (!time.has_request) return time;
    time.event_time ^= kHasRequest;
    time.client = prefix[2];
    time.sequence = prefix[3];
    return time;
  }
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_STAMPED_TIME_H_
