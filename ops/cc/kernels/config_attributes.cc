#include "ops/cc/kernels/config_attributes.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/table/config_validation.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::OpKernelConstruction;

// Numbers in a RegularizationConfig.
constexpr size_t kNumRegularizations = 5;

absl::Status CheckLength(const char* name, size_t length, size_t expected) {
  if (length == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " must have ", expected,
                   " entries for the segments given. Received: ", length, "."));
}

// Kinds with numbers: the lists `kinds` and `counts` have one entry per
// segment, `numbers` has the numbers of all segments, one after the other.
class KindsWithNumbers {
 public:
  absl::Status Read(OpKernelConstruction* context, const char* kinds,
                    const char* counts, const char* numbers,
                    size_t num_segments) {
    TF_RETURN_IF_ERROR(context->GetAttr(kinds, &kinds_));
    std::vector<int64_t> lengths;
    TF_RETURN_IF_ERROR(context->GetAttr(counts, &lengths));
    std::vector<float> all;
    TF_RETURN_IF_ERROR(context->GetAttr(numbers, &all));
    TF_RETURN_IF_ERROR(CheckLength(kinds, kinds_.size(), num_segments));
    TF_RETURN_IF_ERROR(CheckLength(counts, lengths.size(), num_segments));
    auto begin = all.begin();
    for (const int64_t length : lengths) {
      if (length < 0 || length > all.end() - begin) {
        return absl::InvalidArgumentError(absl::StrCat(
            counts, " must sum to the length of ", numbers, ", ", all.size(),
            ". Received: ", absl::StrJoin(lengths, ", "), "."));
      }
      numbers_.emplace_back(begin, begin + length);
      begin += length;
    }
    return CheckLength(numbers, all.size(), begin - all.begin());
  }

  const std::string& kind(size_t segment) const { return kinds_[segment]; }
  const std::vector<float>& numbers(size_t segment) const {
    return numbers_[segment];
  }

 private:
  std::vector<std::string> kinds_;
  std::vector<std::vector<float>> numbers_;
};

absl::Status ReadSegments(OpKernelConstruction* context, TableConfig* config) {
  std::vector<int64_t> dims;
  TF_RETURN_IF_ERROR(context->GetAttr("dims", &dims));
  const size_t n = dims.size();
  KindsWithNumbers optimizers;
  TF_RETURN_IF_ERROR(optimizers.Read(
      context, "optimizers", "num_hyperparameters", "hyperparameters", n));
  KindsWithNumbers initializers;
  TF_RETURN_IF_ERROR(initializers.Read(context, "initializers",
                                       "num_initializer_parameters",
                                       "initializer_parameters", n));
  KindsWithNumbers precisions;
  TF_RETURN_IF_ERROR(precisions.Read(context, "precisions",
                                     "num_precision_parameters",
                                     "precision_parameters", n));
  std::vector<float> regularizations;
  TF_RETURN_IF_ERROR(context->GetAttr("regularizations", &regularizations));
  TF_RETURN_IF_ERROR(CheckLength("regularizations", regularizations.size(),
                                 n * kNumRegularizations));
  for (size_t s = 0; s < n; ++s) {
    const float* const r = regularizations.data() + s * kNumRegularizations;
    config->segments.push_back({dims[s],
                                {optimizers.kind(s),
                                 optimizers.numbers(s),
                                 {r[0], r[1], r[2], r[3], r[4]}},
                                {initializers.kind(s), initializers.numbers(s)},
                                {precisions.kind(s), precisions.numbers(s)}});
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTableConfig(OpKernelConstruction* context,
                             TableConfig* config) {
  TF_RETURN_IF_ERROR(context->GetAttr("table", &config->name));
  TF_RETURN_IF_ERROR(ReadSegments(context, config));
  int64_t seed;
  TF_RETURN_IF_ERROR(context->GetAttr("seed", &seed));
  config->seed = static_cast<uint64_t>(seed);
  AdmissionConfig& admission = config->admission;
  TF_RETURN_IF_ERROR(context->GetAttr("admission", &admission.kind));
  TF_RETURN_IF_ERROR(context->GetAttr("min_count", &admission.min_count));
  TF_RETURN_IF_ERROR(context->GetAttr("probability", &admission.probability));
  TF_RETURN_IF_ERROR(context->GetAttr("sketch_bytes", &admission.sketch_bytes));
  TF_RETURN_IF_ERROR(
      context->GetAttr("window_seconds", &admission.window_seconds));
  TF_RETURN_IF_ERROR(context->GetAttr("reads_zeros", &admission.reads_zeros));
  EvictionConfig& eviction = config->eviction;
  TF_RETURN_IF_ERROR(context->GetAttr("ttl_seconds", &eviction.ttl_seconds));
  TF_RETURN_IF_ERROR(
      context->GetAttr("max_future_seconds", &eviction.max_future_seconds));
  TF_RETURN_IF_ERROR(context->GetAttr("max_rows", &eviction.max_rows));
  TF_RETURN_IF_ERROR(context->GetAttr("max_bytes", &eviction.max_bytes));
  TF_RETURN_IF_ERROR(context->GetAttr("policy", &eviction.policy));
  TF_RETURN_IF_ERROR(
      context->GetAttr("tracks_changes", &config->tracks_changes));
  TF_RETURN_IF_ERROR(
      context->GetAttr("initial_capacity", &config->initial_capacity));
  return ValidateConfig(*config);
}

}  // namespace monolith_tf
