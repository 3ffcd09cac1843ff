// precision.h
//
// How the weights of a segment are stored. The optimizer and checkpoints see
// decoded weights, float32; a lookup returns the values that Forward makes of
// them.
//
//   kind      bytes a weight  stored                         a lookup returns
//   float32   4               as it is                       the weight
//   bfloat16  2               rounded                        the weight
//   float16   2               rounded                        the weight
//   int8      1               one of 255 levels, rounded     the weight
//   onebit    2               rounded to bfloat16            see below
//
// Rounding is stochastic: a number between two neighbours becomes the upper one
// with the probability of its distance from the lower one, so that small
// updates add up on average. Which one it becomes is a function of the key. A
// number that can be stored is stored exactly, whatever the key. What is beyond
// the largest finite number, infinities included, becomes the largest finite
// number of its sign.
//
// onebit is the continuation method of HashNet (Cao, Long, Wang, Yu: HashNet:
// Deep learning to hash by continuation, ICCV 2017, equation 5): the value of a
// weight is amplitude * tanh(beta * weight / amplitude), beta rising from 1
// without bound until, at step anneal_steps, the value is exactly amplitude or
// -amplitude.
//
// All operations are on integers or correctly rounded: every machine stores and
// returns the same bits.

#ifndef MONOLITH_TF_OPS_CC_TABLE_PRECISION_H_
#define MONOLITH_TF_OPS_CC_TABLE_PRECISION_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "ops/cc/table/table_config.h"

namespace monolith_tf {

// Immutable, so safe from any thread.
class Precision {
 public:
  virtual ~Precision() = default;

  // Bytes of `dim` encoded weights, which may start at any multiple of 2.
  virtual int64_t bytes(int64_t dim) const = 0;

  // Writes the weights [dim] of `stored`. These must not overlap.
  virtual void Decode(const char* stored, int64_t dim,
                      float* weights) const = 0;

  // Stores weights [dim]; weight j is rounded by ElementBits(key, j) (hash.h).
  virtual void Encode(const float* weights, int64_t dim, uint64_t key,
                      char* stored) const = 0;

  // Writes the values [dim] that a lookup at global step `step` returns for the
  // decoded `weights`. `values` may be `weights`.
  virtual void Forward(const float* weights, int64_t dim, int64_t step,
                       float* values) const;

  // Turns the gradient [dim] of the values into that of the weights, in place.
  virtual void Backward(const float* weights, int64_t dim, int64_t step,
                        float* gradient) const;

  // Whether `stored` is the weights themselves.
  virtual bool is_float32() const { return false; }

  // Whether Forward or Backward does anything.
  virtual bool has_forward() const { return false; }
};

// InvalidArgument for an unknown kind, a wrong number of parameters, or one
// out of range.
absl::StatusOr<std::unique_ptr<const Precision>> MakePrecision(
    const PrecisionConfig& config);

// The variants, for MakePrecision.
std::unique_ptr<const Precision> MakeFloat32();

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_PRECISION_H_
