"""Initial rows in stock TensorFlow ops.

The C++ core computes the same bits. They are a function of the table's seed,
its name and the id (docs/formats.md), so a server without custom ops returns
the same rows for unseen ids as the trainer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from monolith_tf.config import initializers
from monolith_tf.config.table_config import TableConfig
from monolith_tf.stock_ops import hashing
from monolith_tf.stock_ops import quantize

# Coefficients, lowest power first: ops/cc/initializer/initializer_loops.cc.
_TWO_DEVIATIONS = 0.95449973610364158
_MIDDLE_P = (
    2.5066279562704885,
    -27.112432749290186,
    102.27837891812257,
    -151.18237307332038,
    59.37191413182662,
    11.360805511130538,
)
_MIDDLE_Q = (
    1.0,
    -11.863510035823364,
    50.92438607034864,
    -92.58369218676437,
    58.878065804022434,
)
_WHOLE_P = (
    2.5066282843981768,
    1.0691246082767876,
    0.24554757150003388,
    0.038570856582715052,
    0.0042460672439788707,
    0.00031021888602792967,
    1.4836001935722451e-5,
    1.2781085962606969e-7,
)
_WHOLE_Q = (
    1.0,
    0.16471976102749673,
    0.041802948517557052,
    0.0049334791345231419,
    0.00043432794962304143,
    2.8122674400178293e-5,
    6.5170670017955214e-7,
    1.3420101783221031e-9,
)
_LOGARITHM_A = (
    2.0000000000083638,
    0.66666665246910809,
    0.40000384790114789,
    0.28535043563132331,
    0.23616504319719359,
)
_LN_2 = 0.69314718055994531
_SQRT_2 = 1.4142135623730951
# Deviation of a standard normal distribution truncated at two.
_TRUNCATED_DEVIATION = 0.87962566103423978

# After the end of any annealing.
_LAST_STEP = 1 << 62

# A graph is a protocol buffer of at most 2 GiB.
_MAX_CONSTANT_BYTES = 1 << 30


def initial_rows(
    config: TableConfig, ids: tf.Tensor, step: int = _LAST_STEP
) -> tf.Tensor:
    """Computes the values of ids without a row.

    They are the initial rows, in the precision of the table, or zeros as the
    table's admission selects.

    Args:
        config: The table's config.
        ids: int64 `[n]`, any values.
        step: Global step of the lookup. Only `OneBit` depends on it. Default:
            after its annealing, as in a server.

    Returns:
        float32 `[n, dim]`.

    Example:
    >>> import monolith_tf as mt
    >>> config = mt.TableConfig("movie", dim=2,
    ...                         initializer=mt.initializers.Constant(0.5))
    >>> initial_rows(config, tf.constant([7], tf.int64)).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """
    if config.admission.unadmitted == "zeros":
        return tf.zeros([tf.shape(ids)[0], config.dim])
    segments = [(s.dim, s.initializer, s.precision) for s in config.segments]
    return rows_of_segments(config.seed, config.name, segments, ids, step)


def rows_of_segments(
    seed: int,
    name: str,
    segments: Sequence[tuple],
    ids: tf.Tensor,
    step: int | None = None,
) -> tf.Tensor:
    """Computes initial rows of several segments.

    Element j of a segment that starts at element e of the row uses the random
    bits number e + j. The fan of a VarianceScaling is the length of its
    segment.

    Args:
        seed: Seed of the table.
        name: Name of the table.
        segments: Per segment, in order, a tuple of length, initializer and, if
            it is not float32, precision; at least one.
        ids: int64 `[n]`, any values.
        step: Global step for the values of a lookup at that step; None for the
            stored weights. They differ for `OneBit` only.

    Returns:
        float32 `[n, sum of the lengths]`.

    Raises:
        ValueError: Pretrained rows do not have the length of their segment, or
            are too large for the graph of a function.

    Example:
    >>> segments = [(1, initializers.Zeros()), (2, initializers.Ones())]
    >>> ids = tf.constant([7], tf.int64)
    >>> rows_of_segments(0, "movie", segments, ids).numpy()
    array([[0., 1., 1.]], dtype=float32)
    """
    ids = tf.convert_to_tensor(ids, tf.int64)
    key = tf.constant(hashing.table_key(seed, name), tf.uint64)
    id_keys = hashing.mix64_tensor(hashing.as_uint64(ids) + key)
    parts = []
    first = 0
    for dim, initializer, *rest in segments:
        initializer.check_dim(dim)
        part = _segment(initializer, ids, id_keys, first, dim)
        for precision in rest:
            keys = hashing.mix64_tensor(id_keys)
            bits = _element_bits(keys, first, dim)
            part = quantize.stored(precision, part, bits)
            if step is not None:
                part = quantize.values(precision, part, step)
        parts.append(tf.ensure_shape(part, [ids.shape[0], dim]))
        first += dim
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)


def _segment(
    initializer: initializers.Initializer,
    ids: tf.Tensor,
    id_keys: tf.Tensor,
    first: int,
    dim: int,
) -> tf.Tensor:
    """Computes float32 `[n, dim]` of the segment that starts at `first`."""
    if isinstance(initializer, initializers.Pretrained):
        rows = _segment(initializer.otherwise, ids, id_keys, first, dim)
        return _with_pretrained(initializer.pretrained, ids, rows)
    kind = initializer.kind
    parameters = initializer.parameters
    if kind in ("zeros", "ones", "constant"):
        value = parameters[0] if parameters else float(kind == "ones")
        return tf.fill(tf.stack([tf.shape(ids)[0], dim]), np.float32(value))
    if kind == "variance_scaling":
        kind, *parameters = _scaled(initializer, dim)
    bits = _element_bits(id_keys, first, dim)
    if kind == "uniform":
        return _uniform(bits, *parameters)
    if kind == "normal":
        return _location_scale(_whole_quantile(_centered(bits)), *parameters)
    if kind == "truncated_normal":
        q = _centered(bits) * _TWO_DEVIATIONS
        return _location_scale(_middle_quantile(q), *parameters)
    raise ValueError(
        f"Initial rows need one of mt.initializers. Received: {initializer!r}."
    )


def _scaled(
    initializer: initializers.VarianceScaling, dim: int
) -> tuple[str, np.float32, np.float32]:
    """Returns kind and parameters of the initializer for a length."""
    variance = float(np.float32(initializer.scale)) / dim
    if initializer.distribution == "uniform":
        limit = np.float32(math.sqrt(3 * variance))
        return "uniform", -limit, limit
    zero = np.float32(0)
    if initializer.distribution == "untruncated_normal":
        return "normal", zero, np.float32(math.sqrt(variance))
    deviation = np.float32(math.sqrt(variance) / _TRUNCATED_DEVIATION)
    return "truncated_normal", zero, deviation


def _element_bits(id_keys: tf.Tensor, first: int, dim: int) -> tf.Tensor:
    """Returns 64 random bits per element: uint64 `[n, dim]`."""
    steps = [
        ((j + 1) * hashing.GOLDEN_GAMMA) % (1 << 64)
        for j in range(first, first + dim)
    ]
    # An array: in a graph, tf.constant converts a list of large ints to float64
    # first (TensorFlow 2.21 with NumPy 2).
    steps = tf.constant(np.array(steps, np.uint64))
    return hashing.mix64_tensor(id_keys[:, tf.newaxis] + steps[tf.newaxis, :])


def _uniform(bits: tf.Tensor, minval: float, maxval: float) -> tf.Tensor:
    low = np.float32(minval)
    span = np.float32(maxval) - low
    top = tf.bitwise.right_shift(bits, tf.constant(40, tf.uint64))
    unit = tf.cast(tf.cast(top, tf.int32), tf.float32) * np.float32(2.0**-24)
    return low + unit * span


def _centered(bits: tf.Tensor) -> tf.Tensor:
    """Returns the middle of one of 2^52 parts of (0, 1), less 0.5: float64."""
    top = tf.bitwise.right_shift(bits, tf.constant(12, tf.uint64))
    parts = tf.cast(tf.cast(top, tf.int64), tf.float64)
    return (parts + 0.5) * 2.0**-52 - 0.5


def _location_scale(z: tf.Tensor, mean: float, stddev: float) -> tf.Tensor:
    return np.float32(mean) + np.float32(stddev) * tf.cast(z, tf.float32)


def _middle_quantile(q: tf.Tensor) -> tf.Tensor:
    square = q * q
    return q * _horner(_MIDDLE_P, square) / _horner(_MIDDLE_Q, square)


def _whole_quantile(q: tf.Tensor) -> tf.Tensor:
    size = tf.abs(q)
    y = 4.0 * (0.5 - size) * (0.5 + size)
    # y = m * 2^exponent with 1 <= m < 2.
    bits = tf.bitcast(y, tf.int64)
    exponent = tf.bitwise.right_shift(bits, tf.constant(52, tf.int64))
    exponent = tf.cast(exponent, tf.float64) - 1023.0
    fraction = tf.bitwise.bitwise_and(
        bits, tf.constant((1 << 52) - 1, tf.int64)
    )
    m = tf.bitcast(
        tf.bitwise.bitwise_or(fraction, tf.constant(1023 << 52, tf.int64)),
        tf.float64,
    )
    s = (m - _SQRT_2) / (m + _SQRT_2)
    w = -_LN_2 * (exponent + 0.5) - s * _horner(_LOGARITHM_A, s * s)
    return q * _horner(_WHOLE_P, w) / _horner(_WHOLE_Q, w)


def _horner(coefficients: tuple[float, ...], x: tf.Tensor) -> tf.Tensor:
    value = tf.fill(tf.shape(x), tf.constant(coefficients[-1], tf.float64))
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + tf.constant(coefficient, tf.float64)
    return value


def _with_pretrained(pretrained, ids: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Replaces the rows of ids that have pretrained rows."""
    size = pretrained.ids.nbytes + pretrained.rows.nbytes
    if size > _MAX_CONSTANT_BYTES:
        raise ValueError(
            "Initial rows in stock ops have pretrained rows as constants of "
            f"the graph, at most {_MAX_CONSTANT_BYTES} bytes. Received: "
            f"{pretrained!r}, {size} bytes. Serve unseen ids as zeros or a "
            "constant, or pass fewer rows."
        )
    known = tf.constant(pretrained.ids)
    places = tf.minimum(tf.searchsorted(known, ids), len(pretrained) - 1)
    found = tf.equal(tf.gather(known, places), ids)
    own = tf.gather(tf.constant(pretrained.rows), places)
    return tf.where(found[:, tf.newaxis], own, rows)
