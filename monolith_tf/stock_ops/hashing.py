"""The 64-bit hashes of ids, shards and initial rows.

docs/formats.md specifies them with golden vectors; the C++ core has the same
functions in `ops/cc/hash/hash.h`. Each is here twice: on Python integers, and
on `uint64` tensors with stock TensorFlow ops only.
"""

from __future__ import annotations

import tensorflow as tf

_MASK = (1 << 64) - 1
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB
GOLDEN_GAMMA = 0x9E3779B97F4A7C15


def mix64(value: int) -> int:
    """Mixes the bits of an integer, taken modulo 2^64 (splitmix64 finalizer).

    Reference: Steele, Lea, Flood: Fast splittable pseudorandom number
    generators, OOPSLA 2014, figure 15 (variant 13 of Stafford's mixers).

    >>> hex(mix64(1))
    '0x5692161d100b05e5'
    """
    z = value & _MASK
    z = ((z ^ (z >> 30)) * _MULTIPLIER_1) & _MASK
    z = ((z ^ (z >> 27)) * _MULTIPLIER_2) & _MASK
    return z ^ (z >> 31)


def fnv1a64(text: str) -> int:
    """Hashes the UTF-8 bytes of a text (FNV-1a, 64 bits).

    >>> hex(fnv1a64("a"))
    '0xaf63dc4c8601ec8c'
    """
    value = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return value


def table_key(seed: int, name: str) -> int:
    """Returns the key of a table's initial rows."""
    return mix64(seed + fnv1a64(name))


def mix64_tensor(values: tf.Tensor) -> tf.Tensor:
    """Computes `mix64` of a uint64 tensor of any shape."""
    shift = tf.bitwise.right_shift
    xor = tf.bitwise.bitwise_xor
    z = tf.convert_to_tensor(values, tf.uint64)
    z = xor(z, shift(z, _uint64(30))) * _uint64(_MULTIPLIER_1)
    z = xor(z, shift(z, _uint64(27))) * _uint64(_MULTIPLIER_2)
    return xor(z, shift(z, _uint64(31)))


def as_uint64(ids: tf.Tensor) -> tf.Tensor:
    """Reads int64 bit patterns as uint64."""
    return tf.bitcast(ids, tf.uint64)


def _uint64(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)
