// initializer.h
//
// The initial row of an id is a function of (seed, table name, id): the same on
// every shard, run and machine, before and after the id is inserted.
// docs/formats.md specifies each variant; stock TensorFlow ops compute the same
// bits.

#ifndef MONOLITH_TF_OPS_CC_INITIALIZER_INITIALIZER_H_
#define MONOLITH_TF_OPS_CC_INITIALIZER_INITIALIZER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "ops/cc/config/table_config.h"

namespace monolith_tf {

// Immutable, so safe from any thread.
class Initializer {
 public:
  virtual ~Initializer() = default;

  // Writes the initial weights `row` [dim] of one segment of the id with
  // `id_key` (hash.h). The segment starts `first_element` weights into the
  // row: its weight j is drawn from ElementBits(id_key, first_element + j).
  virtual void Fill(uint64_t id_key, int64_t first_element, int64_t dim,
                    float* row) const = 0;
};

// InvalidArgument for an unknown kind, a wrong number of parameters, or one
// out of range.
absl::StatusOr<std::unique_ptr<const Initializer>> MakeInitializer(
    const InitializerConfig& config);

// The variants, for MakeInitializer. Parameters must be valid.
std::unique_ptr<const Initializer> MakeConstant(float value);
std::unique_ptr<const Initializer> MakeUniform(float minval, float maxval);
std::unique_ptr<const Initializer> MakeNormal(float mean, float stddev);
std::unique_ptr<const Initializer> MakeTruncatedNormal(float mean,
                                                       float stddev);

// The numbers are those of InitializerConfig.
enum class Distribution {
  kTruncatedNormal = 0,
  kUntruncatedNormal = 1,
  kUniform = 2,
};
std::unique_ptr<const Initializer> MakeVarianceScaling(
    float scale, Distribution distribution);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_INITIALIZER_INITIALIZER_H_
