// Inputs and attributes of kernels, read by name and checked.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_INPUTS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_INPUTS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// Input `name`, a vector.
inline absl::Status GetVector(tensorflow::OpKernelContext* context,
                              const char* name,
                              const tensorflow::Tensor** vector) {
  TF_RETURN_IF_ERROR(context->input(name, vector));
  if ((*vector)->dims() == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " must be a vector. Received: shape ",
                   (*vector)->shape().DebugString(), "."));
}

// Input `name`, an int64 scalar.
inline absl::Status GetScalar(tensorflow::OpKernelContext* context,
                              const char* name, int64_t* value) {
  const tensorflow::Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->input(name, &tensor));
  if (tensor->dims() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " must be a scalar. Received: shape ",
                     tensor->shape().DebugString(), "."));
  }
  *value = tensor->scalar<int64_t>()();
  return absl::OkStatus();
}

// Output `name`, a scalar of type T.
template <typename T>
absl::Status SetScalar(tensorflow::OpKernelContext* context, const char* name,
                       T value) {
  tensorflow::Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(name, {}, &tensor));
  tensor->scalar<T>()() = value;
  return absl::OkStatus();
}

// Output `name` of a shape, copied from `data`.
template <typename T>
absl::Status CopyOut(tensorflow::OpKernelContext* context, const char* name,
                     const tensorflow::TensorShape& shape, const T* data) {
  tensorflow::Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(name, shape, &tensor));
  std::copy_n(data, tensor->NumElements(), tensor->flat<T>().data());
  return absl::OkStatus();
}

// Attribute `name`, a list with one entry per feature. Eager calls do not run
// the shape function, so kernels check lengths too.
template <typename Entry>
absl::Status GetEntries(tensorflow::OpKernelConstruction* context,
                        const char* name, int64_t num_features,
                        std::vector<Entry>* entries) {
  entries->clear();  // GetAttr appends to it.
  TF_RETURN_IF_ERROR(context->GetAttr(name, entries));
  if (static_cast<int64_t>(entries->size()) == num_features) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(name, " must have one entry per feature, ", num_features,
                   ". Received: ", entries->size(), "."));
}

// Input list `inputs`, of length `num_inputs`, has one entry per feature that
// `marks` marks; `what` names such features.
inline absl::Status CheckMarked(const char* inputs, const char* what,
                                const std::vector<bool>& marks,
                                int64_t num_inputs) {
  const int64_t expected = std::count(marks.begin(), marks.end(), true);
  if (num_inputs == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(inputs, " must have one entry per ", what, " feature, ",
                   expected, ". Received: ", num_inputs, "."));
}

// `status`, with a subject in front of the message of an error.
inline absl::Status Of(absl::string_view subject, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(subject, ": ", status.message()));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_INPUTS_H_
