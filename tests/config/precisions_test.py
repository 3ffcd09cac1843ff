"""Precisions: arguments, configs, and the versions in stock TensorFlow ops."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.config import precisions
from monolith_tf.stock_ops import hashing
from monolith_tf.stock_ops import quantize
from monolith_tf.stock_ops.initial_rows import rows_of_segments

ALL = [
    precisions.Float32(),
    precisions.BFloat16(),
    precisions.Float16(),
    precisions.Int8(0.5),
    precisions.OneBit(0.5, 100),
    precisions.OneBit(0.5, 100, bytes_per_weight=1),
]


@pytest.mark.parametrize("precision", ALL, ids=str)
def test_config_round_trip(precision):
    config = json.loads(json.dumps(precision.get_config()))
    assert precisions.from_config(config) == precision


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: precisions.Int8(0.0),
            ValueError,
            "Int8 needs range from 1e-30 to 1e30. Received: range=0.0.",
        ),
        (lambda: precisions.Int8(float("nan")), ValueError, "range=nan"),
        (
            lambda: precisions.Int8("1"),
            TypeError,
            "Received: '1' (of type str)",
        ),
        (
            lambda: precisions.OneBit(-1.0, 5),
            ValueError,
            "OneBit needs amplitude from 1e-30",
        ),
        (
            lambda: precisions.OneBit(1.0, 0),
            ValueError,
            "anneal_steps from 1 to 1e15. Received: anneal_steps=0.",
        ),
        (
            lambda: precisions.OneBit(1.0, 5.0),
            TypeError,
            "an int for anneal_steps. Received: 5.0 (of type float)",
        ),
        (
            lambda: precisions.OneBit(1.0, 5, bytes_per_weight=4),
            ValueError,
            "bytes_per_weight=1 or 2. Received: bytes_per_weight=4.",
        ),
        (
            lambda: precisions.OneBit(1.0, 5, bytes_per_weight=1.0),
            TypeError,
            "bytes_per_weight=1 or 2. Received: bytes_per_weight=1.0.",
        ),
        (
            lambda: precisions.from_config({"kind": "float8"}),
            ValueError,
            "of kind float32, bfloat16, float16, int8, onebit. Received: ",
        ),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


def random_bits(shape):
    random = np.random.default_rng(3)
    return tf.constant(random.integers(0, 1 << 64, shape, np.uint64))


def every_weight(precision):
    """All weights that can be stored, finite ones."""
    if precision.bytes_per_weight == 1:
        limit = getattr(precision, "range", None) or precision.amplitude
        step = np.float32(limit) / np.float32(127)
        return np.arange(-127, 128).astype(np.float32) * step
    words = np.arange(1 << 16, dtype=np.uint16)
    if isinstance(precision, precisions.Float16):
        weights = words.view(np.float16).astype(np.float32)
    else:
        weights = (words.astype(np.uint32) << 16).view(np.float32)
    return weights[np.isfinite(weights)]


@pytest.mark.parametrize("precision", ALL[1:], ids=str)
def test_stock_ops_store_exactly_what_can_be_stored(precision):
    weights = every_weight(precision)
    found = quantize.stored(
        precision, tf.constant(weights), random_bits(weights.shape)
    ).numpy()
    if isinstance(precision, precisions.Int8):
        np.testing.assert_array_equal(found, weights)
    else:
        np.testing.assert_array_equal(
            found.view(np.int32), weights.view(np.int32)
        )


@pytest.mark.parametrize("precision", ALL[1:], ids=str)
def test_stock_ops_round_to_a_neighbour_and_right_on_average(precision):
    weights = np.linspace(-0.45, 0.45, 7, dtype=np.float32)
    found = quantize.stored(
        precision,
        tf.constant(np.tile(weights, [20_000, 1])),
        random_bits([20_000, 7]),
    ).numpy()
    storable = np.unique(every_weight(precision))
    for weight, column in zip(weights, found.T, strict=True):
        place = np.searchsorted(storable, weight, side="right") - 1
        lower, upper = storable[place], storable[place + 1]
        assert set(column) <= {lower, upper}
        error = abs(column.astype(np.float64).mean() - weight)
        assert error <= (upper - lower) * 0.02


def test_stock_ops_keep_within_the_largest_number():
    weights = tf.constant([np.inf, -np.inf, 3.4e38, np.nan])
    bits = random_bits([4])
    largest = np.float32(3.3895314e38)
    for precision, end in [
        (precisions.BFloat16(), largest),
        (precisions.Float16(), np.float32(65504)),
    ]:
        found = quantize.stored(precision, weights, bits).numpy()
        np.testing.assert_array_equal(found, [end, -end, end, np.nan])
    found = quantize.stored(precisions.Int8(127.0), weights, bits)
    np.testing.assert_array_equal(found, [127.0, -127.0, 127.0, 0.0])


def test_onebit_anneals_from_the_tanh_to_the_sign():
    precision = precisions.OneBit(0.5, 100)
    weights = np.linspace(-2, 2, 401, dtype=np.float32)
    for step in (0, 50, 99):
        beta = 100 / (100 - step)
        expected = 0.5 * np.tanh(beta * weights.astype(np.float64) / 0.5)
        found = quantize.values(precision, tf.constant(weights), step)
        np.testing.assert_allclose(found, expected, rtol=2e-7)
    found = quantize.values(precision, tf.constant(weights), 100)
    np.testing.assert_array_equal(found, np.where(weights < 0, -0.5, 0.5))


def test_initial_rows_are_rounded_with_bits_of_their_own():
    ids = tf.range(50, dtype=tf.int64)
    uniform = mt.initializers.RandomUniform()
    plain = rows_of_segments(7, "movie", [(2, uniform), (3, uniform)], ids)
    half = precisions.BFloat16()
    function = tf.function(
        lambda i: rows_of_segments(
            7, "movie", [(2, uniform), (3, uniform, half)], i
        )
    )
    rows = function(ids).numpy()
    np.testing.assert_array_equal(rows[:, :2], plain[:, :2])
    for id in range(50):
        id_key = hashing.mix64(id + hashing.table_key(7, "movie"))
        for j in range(2, 5):
            gamma = (j + 1) * hashing.GOLDEN_GAMMA
            bits = hashing.mix64(hashing.mix64(id_key) + gamma)
            expected = quantize.stored(
                half, plain[id, j], tf.constant(bits, tf.uint64)
            )
            assert rows[id, j] == expected.numpy()


def test_a_config_from_before_there_were_bytes_has_two():
    config = precisions.OneBit(0.5, 100).get_config()
    del config["bytes_per_weight"]
    assert precisions.from_config(config).bytes_per_weight == 2


def test_initial_rows_at_a_step_are_the_values():
    ids = tf.range(20, dtype=tf.int64)
    normal = mt.initializers.RandomNormal()
    segments = [(4, normal, precisions.OneBit(0.5, 10))]
    weights = rows_of_segments(0, "t", segments, ids).numpy()
    values = rows_of_segments(0, "t", segments, ids, step=10).numpy()
    np.testing.assert_array_equal(values, np.where(weights < 0, -0.5, 0.5))
