"""Initial rows: the C++ core and stock TensorFlow ops give the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.stock_ops.initial_rows import initial_rows
from monolith_tf.stock_ops.initial_rows import rows_of_segments

INITIALIZERS = [
    mt.initializers.Zeros(),
    mt.initializers.Ones(),
    mt.initializers.Constant(-0.3),
    mt.initializers.RandomUniform(-0.05, 0.05),
    mt.initializers.RandomUniform(1.0, 1e6),
    mt.initializers.TruncatedNormal(),
    mt.initializers.TruncatedNormal(3.0, 0.7),
    mt.initializers.RandomNormal(),
    mt.initializers.RandomNormal(-1.0, 20.0),
    mt.initializers.VarianceScaling(),
    mt.initializers.VarianceScaling(0.3, distribution="untruncated_normal"),
    mt.initializers.VarianceScaling(7.0, distribution="uniform"),
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


def test_normal_rows_are_normal():
    config = mt.TableConfig(
        "n", dim=16, initializer=mt.initializers.RandomNormal(1.0, 0.5)
    )
    values = initial_rows(config, tf.range(20_000, dtype=tf.int64)).numpy()
    z = (values.astype(np.float64) - 1.0) / 0.5
    assert np.abs(z).max() > 4
    for power, moment, tolerance in [(1, 0, 0.01), (2, 1, 0.02), (4, 3, 0.15)]:
        assert abs((z**power).mean() - moment) < tolerance


@pytest.mark.parametrize(
    "distribution", mt.initializers.VarianceScaling.DISTRIBUTIONS
)
def test_variance_scaling_has_its_variance(distribution):
    initializer = mt.initializers.VarianceScaling(2.0, "fan_avg", distribution)
    config = mt.TableConfig("v", dim=8, initializer=initializer)
    values = initial_rows(config, tf.range(40_000, dtype=tf.int64)).numpy()
    assert abs(values.mean()) < 0.005
    assert abs(values.var() - 2.0 / 8) < 0.005


def test_segments_go_on_in_the_random_bits_of_the_row():
    uniform = mt.initializers.RandomUniform(-1.0, 1.0)
    whole = rows_of_segments(7, "movie", [(9, uniform)], ids()).numpy()
    segments = [
        (1, mt.initializers.Ones()),
        (5, uniform),
        (3, mt.initializers.VarianceScaling(9.0, distribution="uniform")),
    ]
    rows = rows_of_segments(7, "movie", segments, tf.constant(ids())).numpy()
    np.testing.assert_array_equal(rows[:, 0], 1.0)
    np.testing.assert_array_equal(rows[:, 1:6], whole[:, 1:6])
    # The fan is 3, so the limit is sqrt(3 * 9 / 3).
    np.testing.assert_allclose(rows[:, 6:], 3.0 * whole[:, 6:], atol=1e-6)


def pretrained(num_rows, dim, otherwise):
    random = np.random.default_rng(1)
    rows = random.normal(size=[num_rows, dim]).astype(np.float32)
    return mt.initializers.Pretrained(
        random.permutation(ids())[:num_rows], rows, otherwise
    )


@pytest.mark.parametrize("num_rows", [1, 1000])
def test_pretrained_ids_have_their_rows_and_others_the_other_ones(num_rows):
    initializer = pretrained(num_rows, 3, mt.initializers.RandomUniform())
    config = mt.TableConfig("p", dim=3, initializer=initializer)
    function = tf.function(lambda i: initial_rows(config, i))
    found = function(tf.constant(ids())).numpy()
    own = dict(zip(initializer.ids.tolist(), initializer.rows, strict=True))
    plain = mt.TableConfig("p", dim=3, initializer=initializer.otherwise)
    expected = initial_rows(plain, tf.constant(ids())).numpy()
    for place, id in enumerate(ids().tolist()):
        expected[place] = own.get(id, expected[place])
    np.testing.assert_array_equal(found, expected)


def test_pretrained_rows_have_the_length_of_their_segment():
    initializer = pretrained(4, 3, mt.initializers.Zeros())
    one = tf.constant([1], tf.int64)
    rows = rows_of_segments(
        0, "p", [(1, mt.initializers.Ones()), (3, initializer)], one
    )
    assert rows.shape == [1, 4]
    with pytest.raises(ValueError, match="dim 3 do not fit .* dim 2"):
        rows_of_segments(0, "p", [(2, initializer)], one)
