"""A row of several slices, each with an optimizer of its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.placement.registry import tables_of
from monolith_tf.stock_ops.initial_rows import initial_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def halving(step):
    return 0.5 ** tf.cast(step + 1, tf.float32)


BIAS = {
    "optimizer": mt.optimizers.Ftrl(0.5, l1_regularization_strength=0.01),
    "initializer": mt.initializers.Zeros(),
}
VECTOR = {
    "optimizer": mt.optimizers.Adam(0.05),
    "initializer": mt.initializers.Constant(0.25),
}


def bias_and_vector(**arguments):
    return mt.TableConfig(
        "user",
        segments=[mt.Segment(1, **BIAS), mt.Segment(4, **VECTOR)],
        **arguments,
    )


def test_a_row_of_two_segments_is_two_tables_side_by_side(shards):
    both = mt.Table(bias_and_vector())
    bias = mt.Table(mt.TableConfig("bias", dim=1, **BIAS))
    vector = mt.Table(mt.TableConfig("vector", dim=4, **VECTOR))
    assert both.dim == 5
    random = np.random.default_rng(1)
    for _ in range(30):
        ids = random.integers(0, 20, 12)
        gradients = random.normal(size=[12, 5]).astype(np.float32)
        both.apply_gradients(ids, gradients)
        bias.apply_gradients(ids, gradients[:, :1])
        vector.apply_gradients(ids, gradients[:, 1:])
    ids = np.arange(-5, 25)
    expected = np.concatenate([bias.lookup(ids), vector.lookup(ids)], axis=1)
    np.testing.assert_array_equal(both.lookup(ids), expected)


def test_whole_rows_are_all_weights_and_then_all_slots():
    table = mt.Table(
        mt.TableConfig(
            "whole",
            segments=[
                mt.Segment(
                    1,
                    optimizer=mt.optimizers.Adagrad(1.0, 9.0, 0.0),
                    initializer=mt.initializers.Constant(5.0),
                ),
                mt.Segment(
                    2,
                    optimizer=mt.optimizers.SGD(1.0, momentum=0.5),
                    initializer=mt.initializers.Constant(7.0),
                ),
            ],
        )
    )
    assert table.config.row_width == 3 + 1 + 2
    table.apply_gradients([1], [[4.0, 2.0, 0.0]])
    ((_, _, rows),) = export_rows(table)
    # 5 - 4 / sqrt(9 + 16); 7 - 2; accumulator 25; momentum -2.
    np.testing.assert_allclose(rows, [[4.2, 5, 7, 25, -2, 0]], rtol=1e-6)


def test_each_segment_has_its_rate_and_its_schedule(shards):
    rate = tf.Variable(0.25)
    table = mt.Table(
        mt.TableConfig(
            "rates",
            segments=[
                mt.Segment(
                    1,
                    optimizer=mt.optimizers.SGD(r),
                    initializer=mt.initializers.Zeros(),
                )
                for r in (1.0, halving, rate)
            ],
        )
    )
    table.apply_gradients([7], [[1.0, 1.0, 1.0]])
    rate.assign(2.0)
    table.apply_gradients([7], [[1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(table.lookup([7]), [[-2, -0.75, -2.25]])


def test_the_rate_of_a_call_is_that_of_all_segments():
    table = mt.Table(
        mt.TableConfig(
            "rate",
            segments=[
                mt.Segment(
                    1,
                    optimizer=mt.optimizers.SGD(r),
                    initializer=mt.initializers.Zeros(),
                )
                for r in (1.0, 0.5)
            ],
        )
    )
    table.apply_gradients([7], [[1.0, 1.0]], learning_rate=0.125)
    np.testing.assert_array_equal(table.lookup([7]), [[-0.125, -0.125]])


def test_initial_rows_of_segments_are_those_of_stock_ops(shards):
    config = mt.TableConfig(
        "mixed",
        segments=[
            mt.Segment(1, initializer=mt.initializers.Zeros()),
            mt.Segment(5, initializer=mt.initializers.RandomNormal(0.0, 1.0)),
            mt.Segment(
                3,
                initializer=mt.initializers.VarianceScaling(),
                precision=mt.precisions.BFloat16(),
            ),
        ],
        seed=5,
    )
    ids = np.array([0, -1, 5, 1 << 40, -(1 << 63)])
    table = mt.Table(config)
    rows = table.lookup(ids).numpy()
    assert (
        rows.tobytes()
        == initial_rows(config, tf.constant(ids)).numpy().tobytes()
    )
    table.apply_gradients(ids, np.zeros([5, 9], np.float32), learning_rate=0.0)
    assert table.size() == 5
    assert table.lookup(ids).numpy().tobytes() == rows.tobytes()


@pytest.mark.parametrize("saved_by", [1, 3])
def test_segments_restore_on_any_number_of_shards(tmp_path, saved_by):
    def make(num_shards):
        with mt.TableSet(num_shards=num_shards):
            return mt.Table(bias_and_vector())

    table = make(saved_by)
    ids = np.arange(100)
    table.apply_gradients(ids, np.ones([100, 5], np.float32))
    path = tf.train.Checkpoint(table=table).save(str(tmp_path / "c"))
    other = make(2)
    tf.train.Checkpoint(table=other).restore(path)
    for each in (table, other):
        each.apply_gradients(ids, np.ones([100, 5], np.float32))
    np.testing.assert_array_equal(other.lookup(ids), table.lookup(ids))


def test_a_checkpoint_of_other_segments_is_refused(tmp_path):
    table = mt.Table(bias_and_vector())
    path = tf.train.Checkpoint(table=table).save(str(tmp_path / "c"))
    one = mt.Table(
        mt.TableConfig("user", dim=5, optimizer=mt.optimizers.Adam())
    )
    with pytest.raises(
        mt.errors.CheckpointError, match=r"segment=\(dim=1 ftrl"
    ):
        tf.train.Checkpoint(table=one).restore(path)


def make_model():
    """A factorisation machine's two terms from one lookup."""
    inputs = tf_keras.Input([3], dtype="int64", name="ids")
    with mt.TableSet(num_shards=2):
        rows = mt.layers.DynamicEmbedding(bias_and_vector())(inputs)
    score = tf.reduce_sum(rows[:, :, :1], axis=1) + tf.reduce_sum(
        tf.square(tf.reduce_sum(rows[:, :, 1:], axis=1)), axis=-1, keepdims=True
    )
    model = tf_keras.Model(inputs, {"score": score})
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    return model


IDS = np.arange(30).reshape(10, 3) % 13
LABELS = {"score": np.linspace(-1, 1, 10, dtype=np.float32)[:, None]}


@pytest.mark.slow
def test_a_layer_over_segments_learns_and_is_exported(tmp_path):
    model = make_model()
    losses = model.fit(IDS, LABELS, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    mt.serving.export_saved_model(model, str(tmp_path / "export"))
    (version,) = (tmp_path / "export").iterdir()
    loaded = tf.saved_model.load(str(version))
    ids = tf.constant(np.r_[IDS, [[100, 200, 300]]], tf.int64)
    served = loaded.signatures["serving_default"](ids=ids)
    np.testing.assert_array_equal(list(served.values())[0], model(ids)["score"])


@pytest.mark.slow
def test_a_keras_file_keeps_segments(tmp_path):
    model = make_model()
    model.fit(IDS, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    (table,) = tables_of(loaded)
    assert [s.dim for s in table.config.segments] == [1, 4]
    for each in (model, loaded):
        each.fit(IDS, LABELS, shuffle=False, verbose=0)
    np.testing.assert_array_equal(loaded(IDS)["score"], model(IDS)["score"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"segments": []}, TypeError, "at least one mt.Segment"),
        ({"segments": [3]}, TypeError, "at least one mt.Segment"),
        ({}, TypeError, "needs dim, the length of its rows, or segments"),
        (
            {"dim": 4, "segments": [mt.Segment(3)]},
            ValueError,
            "'x': a table with segments takes no dim; pass",
        ),
        (
            {
                "optimizer": mt.optimizers.SGD(),
                "precision": mt.precisions.Float32(),
                "segments": [mt.Segment(3)],
            },
            ValueError,
            "takes no optimizer and no precision; pass",
        ),
        (
            {"segments": [mt.Segment(65536), mt.Segment(1)]},
            ValueError,
            "sum to at most 65536.*65537",
        ),
        ({"dim": 2, "precision": "float16"}, TypeError, "mt.precisions"),
        ({"dim": 2, "tracks_changes": 1}, TypeError, "of type bool"),
    ],
)
def test_bad_segments_say_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        mt.TableConfig("x", **arguments)


@pytest.mark.parametrize(
    "rows",
    [
        {"dim": 3, "optimizer": mt.optimizers.SGD(0.5)},
        {"segments": [mt.Segment(1), mt.Segment(2)]},
    ],
)
def test_a_config_with_another_field_is_like_it(rows):
    config = mt.TableConfig("x", seed=3, **rows)
    other = dataclasses.replace(config, initial_capacity=10)
    assert other.initial_capacity == 10
    assert other.same_as(config)
    assert other.dim == config.dim == 3
    with pytest.raises(ValueError, match="takes no dim"):
        dataclasses.replace(config, dim=4)


def test_a_config_that_was_saved_without_a_field_has_its_default():
    config = mt.TableConfig("x", dim=3)
    described = config.get_config()
    for field in ("seed", "admission", "eviction", "tracks_changes"):
        del described[field]
    del described["segments"][0]["precision"]
    assert mt.TableConfig.from_config(described).same_as(config)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dim": 0}, ValueError, "dim must be from 1 to 65536.*dim=0"),
        ({"dim": 65537}, ValueError, "dim must be from 1 to 65536"),
        ({"dim": "4"}, TypeError, "dim must be an integer"),
        ({"dim": 1, "optimizer": "sgd"}, TypeError, "mt.optimizers"),
        ({"dim": 1, "initializer": 0.0}, TypeError, "mt.initializers"),
        ({"dim": 1, "precision": 16}, TypeError, "mt.precisions"),
    ],
)
def test_a_bad_segment_says_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        mt.Segment(**arguments)


def test_segments_round_trip_in_a_config():
    config = bias_and_vector(admission=mt.Admission(min_count=2))
    assert mt.TableConfig.from_config(config.get_config()).same_as(config)
