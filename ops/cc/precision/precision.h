// precision.h
//
// The storage format of the weights of a segment. The optimizer and checkpoints
// see decoded weights, float32. A lookup returns the values that Forward
// computes from them.
//
//   kind      bytes per weight  stored                       a lookup returns
//   float32   4                 unchanged                    the weight
//   bfloat16  2                 rounded                      the weight
//   float16   2                 rounded                      the weight
//   int8      1                 one of 255 levels, rounded   the weight
//   onebit    2 or 1            as bfloat16 or int8          see below
//
// Rounding is stochastic: a number between two neighbours becomes the outer one
// with the probability of its distance from the inner one, so that small
// updates add up on average (bias: none for bfloat16; at most 2^-31 of the
// distance for float16, 2^-24 for int8). The choice is a function of the key.
// A number that the format holds is stored exactly, with any key. A number
// beyond the largest finite one, or an infinity, becomes the largest finite
// number of its sign. NaN stays NaN, but becomes 0 in int8.
//
// int8: level k of -127 .. 127 is the weight k * (range / 127). The optimizer
// steps the stored weights, so training sees quantized weights. The gradient
// passes through, but is zero where it would push a weight at an end of the
// range further out.
//
// onebit is the continuation method of HashNet (Cao, Long, Wang, Yu: HashNet:
// Deep learning to hash by continuation, ICCV 2017, equation 5): the value of a
// weight is amplitude * tanh(beta * weight / amplitude), where beta =
// anneal_steps / (anneal_steps - step) rises from 1, and the gradient is its
// derivative. From step anneal_steps on, the value is exactly amplitude, or
// -amplitude for a weight below zero; its derivative being zero, the gradient
// then passes straight through between -amplitude and amplitude, so that late
// ids still learn. In one byte, a weight is a level as in int8 with the
// amplitude as range; there, no gradient pushes it further out before that step
// either.
//
// All roundings return the same bits on every machine. So do the values of
// onebit, which uses a portable tanh.

#ifndef MONOLITH_TF_OPS_CC_PRECISION_PRECISION_H_
#define MONOLITH_TF_OPS_CC_PRECISION_PRECISION_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "ops/cc/config/table_config.h"

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
  // Initial weights are rounded with InitialRoundingKey (hash.h), so that they
  // are the same whenever they are stored.
  virtual void Encode(const float* weights, int64_t dim, uint64_t key,
                      char* stored) const = 0;

  // Writes the values [dim] that a lookup at global step `step` returns for the
  // decoded `weights`. `values` may be `weights`.
  virtual void Forward(const float* weights, int64_t dim, int64_t step,
                       float* values) const;

  // Converts the gradient [dim] of the values that Forward returned at `step`
  // to that of the weights, in place.
  virtual void Backward(const float* weights, int64_t dim, int64_t step,
                        float* gradient) const;

  // The largest derivative of Forward at `step`: Backward scales no gradient up
  // by more than this factor.
  virtual double Steepness(int64_t step) const;

  // Whether stored weights are plain floats.
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
std::unique_ptr<const Precision> MakeBfloat16();
std::unique_ptr<const Precision> MakeFloat16();
std::unique_ptr<const Precision> MakeInt8(float range);
// `bytes` per weight: 2 or 1.
std::unique_ptr<const Precision> MakeOnebit(float amplitude, float anneal_steps,
                                            int bytes);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_PRECISION_PRECISION_H_
