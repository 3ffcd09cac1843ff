"""Initial rows: the C++ core and stock TensorFlow ops give the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.initial_rows import initial_rows

INITIALIZERS = [
    mt.initializers.Zeros(),
    mt.initializers.Constant(-0.3),
    mt.initializers.RandomUniform(-0.05, 0.05),
    mt.initializers.RandomUniform(1.0, 1e6),
    mt.initializers.TruncatedNormal(),
    mt.initializers.TruncatedNormal(3.0, 0.7),
]


def ids():
    random = np.random.default_rng(0)
    special = [0, -1, -(1 << 63), (1 << 63) - 1]
    many = random.integers(-(1 << 63), (1 << 63) - 1, 4000)
    return np.concatenate([special, np.arange(100), many]).astype(np.int64)


@pytest.mark.parametrize("seed", [0, 7, (1 << 64) - 1])
@pytest.mark.parametrize("initializer", INITIALIZERS, ids=str)
def test_stock_ops_and_the_core_agree_bit_for_bit(initializer, seed):
    config = mt.TableConfig("bits", dim=9, initializer=initializer, seed=seed)
    expected = mt.Table(config).lookup(ids()).numpy()
    eager = initial_rows(config, tf.constant(ids())).numpy()
    function = tf.function(lambda i: initial_rows(config, i))
    graph = function(tf.constant(ids())).numpy()
    np.testing.assert_array_equal(eager.view(np.int32), expected.view(np.int32))
    np.testing.assert_array_equal(graph.view(np.int32), expected.view(np.int32))


def test_row_inserted_with_a_zero_gradient_is_the_initial_row():
    table = mt.Table(
        mt.TableConfig("same", dim=4, optimizer=mt.optimizers.SGD(1.0))
    )
    before = table.lookup([5]).numpy()
    table.apply_gradients([5], np.zeros([1, 4], np.float32))
    assert table.size() == 1
    np.testing.assert_array_equal(table.lookup([5]), before)


def test_name_seed_and_id_each_change_the_row():
    def row(name="a", seed=0, id=1):
        config = mt.TableConfig(name, dim=8, seed=seed)
        return tuple(
            initial_rows(config, tf.constant([id], tf.int64)).numpy()[0]
        )

    assert len({row(), row(name="b"), row(seed=1), row(id=2)}) == 4


def test_uniform_rows_are_uniform():
    config = mt.TableConfig(
        "u", dim=16, initializer=mt.initializers.RandomUniform(-1.0, 3.0)
    )
    values = initial_rows(config, tf.range(20_000, dtype=tf.int64)).numpy()
    assert values.min() >= -1.0 and values.max() < 3.0
    assert abs(values.mean() - 1.0) < 0.01
    assert abs(values.std() - 4 / np.sqrt(12)) < 0.01


def test_truncated_normal_rows_are_cut_at_two_deviations():
    config = mt.TableConfig(
        "n", dim=16, initializer=mt.initializers.TruncatedNormal(1.0, 0.5)
    )
    values = initial_rows(config, tf.range(20_000, dtype=tf.int64)).numpy()
    assert np.abs(values - 1.0).max() <= 1.0 + 1e-6
    assert abs(values.mean() - 1.0) < 0.005
    # Deviation of a normal distribution cut at two deviations: 0.8796.
    assert abs(values.std() - 0.5 * 0.8796) < 0.005
