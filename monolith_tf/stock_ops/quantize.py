"""Weight quantization in stock TensorFlow ops.

The C++ core computes the same bits (docs/formats.md), so a server without
custom ops returns the same rows for unseen ids as the trainer.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from monolith_tf.config import precisions

# (2^f - 1) / f, lowest power first: ops/cc/precision/precision_loops.cc.
_POWER_R = (
    0.69314718055994531,
    0.24022650922288758,
    0.055504108839096184,
    0.0096180566785246381,
    0.0013333502386162771,
    0.00015461444698569129,
    1.5297323760701074e-5,
)
_TWICE_LOG2_E = 2.8853900817779268
_INFINITY = 0x7F800000


def stored(
    precision: precisions.Precision, weights: tf.Tensor, bits: tf.Tensor
) -> tf.Tensor:
    """Rounds weights as a table of this precision stores them.

    Args:
        precision: One of `mt.precisions`.
        weights: float32 `[n, dim]`.
        bits: uint64 `[n, dim]`, random bits for stochastic rounding.

    Returns:
        float32 `[n, dim]`.

    Example:
    >>> weights, bits = tf.constant([[0.3]]), tf.constant([[0]], tf.uint64)
    >>> stored(precisions.BFloat16(), weights, bits).numpy()
    array([[0.29882812]], dtype=float32)
    """
    if isinstance(precision, precisions.Float32):
        return weights
    if isinstance(precision, precisions.Int8):
        return _int8(weights, bits, np.float32(precision.range))
    if isinstance(precision, precisions.Float16):
        return _float16(weights, bits)
    if precision.bytes_per_weight == 1:
        return _int8(weights, bits, np.float32(precision.amplitude))
    return _bfloat16(weights, bits)


def values(
    precision: precisions.Precision, weights: tf.Tensor, step: int
) -> tf.Tensor:
    """Returns the values of stored weights in a lookup at a global step.

    Args:
        precision: One of `mt.precisions`.
        weights: float32, as stored.
        step: Global step.

    Example:
    >>> weights = tf.constant([[0.3, -0.2]])
    >>> values(precisions.OneBit(0.5, 100), weights, step=100).numpy()
    array([[ 0.5, -0.5]], dtype=float32)
    """
    if not isinstance(precision, precisions.OneBit):
        return weights
    amplitude = np.float32(precision.amplitude)
    steps = float(np.float32(precision.anneal_steps))
    if step >= steps:
        signs = tf.where(weights < 0, tf.constant(-1.0), tf.constant(1.0))
        return amplitude * signs
    slope = steps / (steps - max(step, 0)) / float(amplitude)
    x = tf.cast(weights, tf.float64) * slope
    e = _exp_of_minus_twice(tf.minimum(tf.abs(x), 40.0))
    t = (1.0 - e) / (1.0 + e)
    return amplitude * tf.cast(tf.where(x < 0, -t, t), tf.float32)


def _exp_of_minus_twice(x: tf.Tensor) -> tf.Tensor:
    y = x * -_TWICE_LOG2_E
    integer = tf.round(y)
    f = y - integer
    r = tf.fill(tf.shape(f), tf.constant(_POWER_R[-1], tf.float64))
    for coefficient in reversed(_POWER_R[:-1]):
        r = r * f + tf.constant(coefficient, tf.float64)
    exponent = tf.bitwise.left_shift(
        tf.cast(integer, tf.int64) + 1023, tf.constant(52, tf.int64)
    )
    return (1.0 + f * r) * tf.bitcast(exponent, tf.float64)


def _size_bits(weights: tf.Tensor) -> tf.Tensor:
    """Returns the bits of a float without its sign, as int64."""
    bits = tf.bitcast(weights, tf.int32)
    return tf.cast(
        tf.bitwise.bitwise_and(bits, tf.constant(0x7FFFFFFF)), tf.int64
    )


def _signed(size: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Gives a float32 >= 0 the sign bit of the weights."""
    sign = tf.bitwise.bitwise_and(
        tf.bitcast(weights, tf.int32), tf.constant(-(1 << 31))
    )
    return tf.bitcast(
        tf.bitwise.bitwise_or(tf.bitcast(size, tf.int32), sign), tf.float32
    )


def _float_of_bits(bits: tf.Tensor) -> tf.Tensor:
    return tf.bitcast(tf.cast(bits, tf.int32), tf.float32)


def _highest(bits: tf.Tensor, number: int) -> tf.Tensor:
    """Returns the highest bits of uint64, as int64."""
    shift = tf.constant(64 - number, tf.uint64)
    return tf.cast(tf.bitwise.right_shift(bits, shift), tf.int64)


def _shift_right(bits: tf.Tensor, number) -> tf.Tensor:
    return tf.bitwise.right_shift(bits, tf.cast(number, tf.int64))


def _bfloat16(weights: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    size = _size_bits(weights)
    word = _shift_right(size + _highest(bits, 16), 16)
    word = tf.minimum(word, 0x7F7F)
    word = tf.where(size > _INFINITY, tf.constant(0x7FC0, tf.int64), word)
    return _signed(_float_of_bits(word * (1 << 16)), weights)


def _float16(weights: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    size = _size_bits(weights)
    exponent = _shift_right(size, 23)
    significand = size % (1 << 23)
    significand += tf.where(exponent > 0, tf.constant(1 << 23, tf.int64), 0)
    below = tf.maximum(126 - exponent, 13)
    cut = tf.maximum(below - 31, 0)
    below -= cut
    significand = _shift_right(significand, tf.minimum(cut, 31))
    one = tf.ones_like(below)
    mask = tf.bitwise.left_shift(one, below) - 1
    significand += tf.bitwise.bitwise_and(_highest(bits, 32), mask)
    base = tf.maximum(exponent - 113, 0) * (1 << 10)
    word = tf.minimum(_shift_right(significand, below) + base, 0x7BFF)
    normal = _float_of_bits(word * (1 << 13) + (112 << 23))
    steps = tf.cast(word, tf.float32) * np.float32(2.0**-24)
    value = tf.where(word < 0x0400, steps, normal)
    value = tf.where(size > _INFINITY, np.float32(np.nan), value)
    return _signed(value, weights)


def _int8(weights: tf.Tensor, bits: tf.Tensor, reach: np.float32) -> tf.Tensor:
    step = reach / np.float32(127)
    limit = int((np.float32(127) * step).view(np.int32))
    size_bits = _size_bits(weights)
    size = _float_of_bits(tf.minimum(size_bits, limit))

    def weight_of(level):
        return tf.cast(level, tf.float32) * step

    level = tf.cast(size / step, tf.int32)
    level -= tf.cast(weight_of(level) > size, tf.int32)
    level += tf.cast(weight_of(level + 1) <= size, tf.int32)
    lower = weight_of(level)
    part = (size - lower) / (weight_of(level + 1) - lower)
    part = tf.cast(part * np.float32(1 << 24), tf.int64)
    level += tf.cast(_highest(bits, 24) < part, tf.int32)
    level = tf.where(size_bits > _INFINITY, 0, level)
    # An integer has no -0.
    negative = tf.bitcast(weights, tf.int32) < 0
    return weight_of(tf.where(negative, -level, level))
