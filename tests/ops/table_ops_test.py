"""The ops themselves: bad input is refused and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops


@pytest.fixture
def handle(request):
    handle = ops.table_set_handle(request.node.name)
    create(handle, "a", dim=2)
    create(handle, "b", dim=3)
    yield handle
    tf.raw_ops.DestroyResourceOp(resource=handle)


def create(
    handle,
    table,
    *,
    dim,
    optimizer="sgd",
    hyperparameters=(),
    initializer="zeros",
    initializer_parameters=(),
    seed=0,
    shard=0,
    num_shards=1,
    generation=1,
):
    """Makes a table of what the op takes, without the checks of TableConfig."""
    attributes = mt.TableConfig(table, dim=1).op_attributes(0, 1)
    attributes |= {
        "dims": [dim],
        "optimizers": [optimizer],
        "num_hyperparameters": [len(hyperparameters)],
        "hyperparameters": list(hyperparameters),
        "initializers": [initializer],
        "num_initializer_parameters": [len(initializer_parameters)],
        "initializer_parameters": list(initializer_parameters),
        "seed": seed,
        "shard": shard,
        "num_shards": num_shards,
    }
    ops.table_create(handle, attributes=attributes, generation=generation)


NOW = tf.constant(0, tf.int64)


def int64(*values):
    return tf.constant(values, tf.int64)


def apply(handle, packed, values):
    ops.apply(
        handle,
        tf.constant(packed, tf.int64),
        tf.constant(values, tf.float32),
        tables=["a", "b"],
        dims=[2, 3],
    )


def test_one_lookup_reads_several_tables(handle):
    ops.assign(handle, int64(5), [[1.0, 2.0]], NOW, table="a")
    ops.assign(handle, int64(5), [[3.0, 4.0, 5.0]], NOW, table="b")
    rows = ops.lookup(
        handle, int64(2, 1, 5, 6, 5), tables=["a", "b"], dims=[2, 3]
    )
    np.testing.assert_array_equal(rows, [1, 2, 0, 0, 3, 4, 5])


def test_one_apply_updates_several_tables(handle):
    apply(
        handle,
        [1, 100, 1, 1, 5, 6, 1, 2],
        [0.5, 0.25, 2.0, 4.0, 4.0, 8.0, 16.0],
    )
    rows = ops.lookup(handle, int64(1, 1, 5, 6), tables=["a", "b"], dims=[2, 3])
    np.testing.assert_array_equal(rows, [-1, -2, -1, -2, -4])


@pytest.mark.parametrize(
    ("packed", "values", "message"),
    [
        ([1, 100, 1], [], "must start with 4 numbers"),
        ([1, 100, -1, 1, 5, 1], [0.5, 0.5], "from 0 to 2 ids. Received: -1"),
        ([1, 100, 9, 0, 5, 1], [0.5, 0.5], "from 0 to 2 ids. Received: 9"),
        (
            [1, 100, 1, 0, 5],
            [0.5, 0.5, 1, 1],
            "must have 2 numbers after its sizes",
        ),
        ([1, 100, 1, 0, 5, 1], [0.5, 0.5, 1], r"values must be \[4\]"),
        ([0, 100, 1, 0, 5, 1], [0.5, 0.5, 1, 1], "global_step must be >= 1"),
        ([1, -1, 1, 0, 5, 1], [0.5, 0.5, 1, 1], "event_time must be seconds"),
        ([1, 1 << 32, 1, 0, 5, 1], [0.5, 0.5, 1, 1], "event_time must be"),
        ([1, 100, 1, 0, 5, 0], [0.5, 0.5, 1, 1], "counts must be >= 1"),
        (
            [1, 100, 1, 0, 5, 1],
            [float("nan"), 0.5, 1, 1],
            "learning_rate must be finite",
        ),
        (
            # The second table's part is bad: the first must not change either.
            [1, 100, 1, 1, 5, 6, 1, 0],
            [0.5, 0.5, 1, 1, 1, 1, 1],
            "counts must be >= 1",
        ),
    ],
)
def test_bad_apply_is_refused_and_changes_nothing(
    handle, packed, values, message
):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        apply(handle, packed, values)
    assert ops.size(handle, table="a").numpy() == 0
    assert ops.size(handle, table="b").numpy() == 0


def test_table_of_one_name_and_another_config_prints_both(handle):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        create(handle, "a", dim=7)
    assert "dim: 2" in str(error.value)
    assert "dim: 7" in str(error.value)


def test_creating_an_equal_table_again_keeps_its_rows(handle):
    ops.assign(handle, int64(5), [[1.0, 2.0]], NOW, table="a")
    create(handle, "a", dim=2)
    assert ops.size(handle, table="a").numpy() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": -1}, "dim"),
        ({"optimizer": "magic"}, "magic"),
        ({"optimizer": "adagrad", "hyperparameters": [0.1]}, "adagrad"),
        (
            {"optimizer": "adam", "hyperparameters": [1.5, 0.9, 1e-7]},
            "beta_1|beta",
        ),
        ({"initializer": "magic"}, "magic"),
        (
            {"initializer": "uniform", "initializer_parameters": [1.0, 0.0]},
            "minval",
        ),
        ({"shard": 2, "num_shards": 2}, "shard must be in"),
    ],
)
def test_bad_config_is_refused_with_its_values(handle, change, message):
    arguments = {"dim": 2}
    arguments.update(change)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        create(handle, "c", **arguments)


def test_missing_table_set_names_set_and_server():
    handle = ops.table_set_handle("nobody made this")
    with pytest.raises(tf.errors.FailedPreconditionError) as error:
        ops.lookup(handle, int64(1, 5), tables=["a"], dims=[2])
    assert "nobody made this" in str(error.value)
    assert "/job:localhost" in str(error.value)
    assert "restore" in str(error.value)


def test_missing_table_names_table_and_server(handle):
    with pytest.raises(tf.errors.FailedPreconditionError) as error:
        ops.size(handle, table="ghost")
    assert "ghost" in str(error.value)
    assert "/job:localhost" in str(error.value)


def test_op_built_for_another_dim_is_refused(handle):
    with pytest.raises(tf.errors.InvalidArgumentError, match="has dim 2"):
        ops.lookup(handle, int64(1, 5), tables=["a"], dims=[5])


def test_dropped_table_is_gone_and_others_stay(handle):
    ops.assign(handle, int64(5), [[1.0, 2.0, 3.0]], NOW, table="b")
    ops.table_drop(handle, "a")
    with pytest.raises(tf.errors.FailedPreconditionError):
        ops.size(handle, table="a")
    assert ops.size(handle, table="b").numpy() == 1


def test_dropping_a_table_that_is_gone_does_nothing(handle):
    ops.table_drop(handle, "a")
    ops.table_drop(handle, "a")
    assert ops.size(handle, table="b").numpy() == 0
    ops.table_drop(ops.table_set_handle("nobody made this"), "a")


def test_dropping_a_table_of_several_sets_is_refused(handle):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="handle must be a scalar"
    ):
        ops.table_drop(tf.stack([handle, handle]), "a")


def test_import_of_rows_of_another_width_is_refused(handle):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="rows of 2 floats"
    ):
        ops.import_rows(handle, [[5, 0]], [[1.0, 2.0, 3.0]], table="a")
    assert ops.size(handle, table="a").numpy() == 0


def test_export_that_has_ended_does_not_start_again(handle):
    *_, cursor = ops.export_chunk(
        handle, tf.constant(0, tf.int64), table="a", max_rows=5
    )
    assert cursor.numpy() == -1
    with pytest.raises(tf.errors.InvalidArgumentError, match="cursor"):
        ops.export_chunk(handle, cursor, table="a", max_rows=5)


def test_empty_batch_is_fine(handle):
    apply(handle, [1, 100, 0, 0], [0.5, 0.5])
    rows = ops.lookup(handle, int64(0, 0), tables=["a", "b"], dims=[2, 3])
    assert rows.shape == [0]
