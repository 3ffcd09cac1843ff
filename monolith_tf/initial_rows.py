"""Initial rows, computed with stock TensorFlow ops.

The C++ core computes the same rows bit for bit. They are a function of the
table's seed, its name and the id (docs/formats.md), so a server without custom
ops answers an unseen id as the trainer does.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from monolith_tf import hashing
from monolith_tf.config import TableConfig

_TWO_DEVIATIONS = 0.95449973610364158
# Coefficients of P and Q, lowest power first: ops/cc/table/normal_quantile.h.
_QUANTILE_P = (
    2.5066279562704885,
    -27.112432749290186,
    102.27837891812257,
    -151.18237307332038,
    59.37191413182662,
    11.360805511130538,
)
_QUANTILE_Q = (
    1.0,
    -11.863510035823364,
    50.92438607034864,
    -92.58369218676437,
    58.878065804022434,
)


def initial_rows(config: TableConfig, ids: tf.Tensor) -> tf.Tensor:
    """Computes the rows that ids have before their first gradient.

    Args:
        config: The table's config.
        ids: int64 `[n]`, any values.

    Returns:
        float32 `[n, dim]`.

    Example:
    >>> import monolith_tf as mt
    >>> config = mt.TableConfig("movie", dim=2,
    ...                         initializer=mt.initializers.Constant(0.5))
    >>> initial_rows(config, tf.constant([7], tf.int64)).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """
    ids = tf.convert_to_tensor(ids, tf.int64)
    kind = config.initializer.kind
    parameters = config.initializer.parameters
    shape = tf.stack([tf.shape(ids)[0], config.dim])
    if kind == "zeros":
        rows = tf.zeros(shape)
    elif kind == "constant":
        rows = tf.fill(shape, np.float32(parameters[0]))
    elif kind == "uniform":
        rows = _uniform(_element_bits(config, ids), *parameters)
    elif kind == "truncated_normal":
        rows = _truncated_normal(_element_bits(config, ids), *parameters)
    else:
        raise ValueError(
            f"initial_rows knows the initializers zeros, constant, uniform and "
            f"truncated_normal. Received: {kind!r} for table {config.name!r}."
        )
    return tf.ensure_shape(rows, [ids.shape[0], config.dim])


def _element_bits(config: TableConfig, ids: tf.Tensor) -> tf.Tensor:
    """Returns 64 random bits for each element: uint64 `[n, dim]`."""
    key = tf.constant(hashing.table_key(config.seed, config.name), tf.uint64)
    id_keys = hashing.mix64_tensor(hashing.as_uint64(ids) + key)
    steps = [
        ((j + 1) * hashing.GOLDEN_GAMMA) % (1 << 64) for j in range(config.dim)
    ]
    # An array: of a list of large ints, tf.constant in a graph makes float64 on
    # the way (TensorFlow 2.21 with NumPy 2).
    steps = tf.constant(np.array(steps, np.uint64))
    return hashing.mix64_tensor(id_keys[:, tf.newaxis] + steps[tf.newaxis, :])


def _uniform(bits: tf.Tensor, minval: float, maxval: float) -> tf.Tensor:
    low = np.float32(minval)
    span = np.float32(maxval) - low
    top = tf.bitwise.right_shift(bits, tf.constant(40, tf.uint64))
    unit = tf.cast(tf.cast(top, tf.int32), tf.float32) * np.float32(2.0**-24)
    return low + unit * span


def _truncated_normal(bits: tf.Tensor, mean: float, stddev: float) -> tf.Tensor:
    top = tf.bitwise.right_shift(bits, tf.constant(12, tf.uint64))
    parts = tf.cast(tf.cast(top, tf.int64), tf.float64)
    probability = (parts + 0.5) * 2.0**-52
    q = (probability - 0.5) * _TWO_DEVIATIONS
    square = q * q
    z = q * _horner(_QUANTILE_P, square) / _horner(_QUANTILE_Q, square)
    return np.float32(mean) + np.float32(stddev) * tf.cast(z, tf.float32)


def _horner(coefficients: tuple[float, ...], x: tf.Tensor) -> tf.Tensor:
    value = tf.fill(tf.shape(x), tf.constant(coefficients[-1], tf.float64))
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + tf.constant(coefficient, tf.float64)
    return value
