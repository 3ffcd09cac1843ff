"""Tables whose rows start from rows that were trained elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.placement.table_set import servers_of
from monolith_tf.stock_ops.initial_rows import initial_rows

IDS = [7, -9, 2**63 - 1, 0]
ROWS = [[0.5, 1.0], [2.0, 3.0], [-4.0, 0.25], [8.0, -1.5]]


def make(num_shards=1, **more):
    arguments = {
        "dim": 2,
        "optimizer": mt.optimizers.SGD(1.0),
        "initializer": mt.initializers.Pretrained(
            IDS, ROWS, mt.initializers.Constant(0.125)
        ),
    }
    arguments.update(more)
    with mt.TableSet(num_shards=num_shards):
        return mt.Table(mt.TableConfig("item", **arguments))


@pytest.mark.parametrize("num_shards", [1, 3])
def test_an_unseen_id_reads_its_pretrained_row_and_stays_unseen(num_shards):
    table = make(num_shards)
    ids = tf.constant([*IDS, 5], tf.int64)
    np.testing.assert_array_equal(table.lookup(ids), [*ROWS, [0.125, 0.125]])
    np.testing.assert_array_equal(
        table.lookup(ids), initial_rows(table.config, ids)
    )
    assert table.size() == 0


@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_step_starts_from_it_and_so_does_an_id_that_comes_back(num_shards):
    table = make(num_shards)
    for _ in range(2):
        table.apply_gradients([7, 5], [[1.0, 1.0], [1.0, 1.0]])
        np.testing.assert_array_equal(
            table.lookup([7, 5]), [[-0.5, 0.0], [-0.875, -0.875]]
        )
        assert int(table.remove([7, 5])) == 2
        np.testing.assert_array_equal(table.lookup([7])[0], ROWS[0])


def test_only_the_segment_that_has_them_starts_from_them():
    pretrained = mt.initializers.Pretrained(IDS, ROWS, mt.initializers.Zeros())
    table = make(
        dim=None,
        optimizer=None,
        initializer=None,
        segments=[
            mt.Segment(1, initializer=mt.initializers.Ones()),
            mt.Segment(2, initializer=pretrained),
        ],
    )
    np.testing.assert_array_equal(
        table.lookup([-9, 5]), [[1.0, 2.0, 3.0], [1.0, 0.0, 0.0]]
    )


def test_rows_of_low_precision_read_the_same_before_and_after_a_step():
    table = make(precision=mt.precisions.BFloat16())
    before = table.lookup(IDS).numpy()
    table.apply_gradients(IDS, np.zeros([4, 2], np.float32))
    np.testing.assert_array_equal(table.lookup(IDS), before)
    np.testing.assert_array_equal(before, ROWS)


def test_rows_of_another_dim_are_refused_when_the_table_is_configured():
    with pytest.raises(ValueError, match=r"Table 'item'.*dim 2.*dim 3"):
        make(dim=3)


@pytest.mark.parametrize(
    ("ids", "rows", "segment", "message"),
    [
        ([1], [[1.0]], 0, "of its dim 2. Received: segment 0"),
        ([1], [[1.0, 2.0]], 1, "a segment in .*Received: segment 1"),
        ([1, 1], [[1.0, 2.0], [1.0, 2.0]], 0, "1"),
        ([1], [[float("nan"), 2.0]], 0, "finite"),
    ],
)
def test_a_bad_call_of_the_op_changes_nothing(ids, rows, segment, message):
    table = make()
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.set_pretrained(
            servers_of(table.table_set)[0].handle,
            tf.constant(ids, tf.int64),
            tf.constant(rows, tf.float32),
            table="item",
            segment=segment,
        )
    np.testing.assert_array_equal(
        table.lookup([7, 1]), [ROWS[0], [0.125, 0.125]]
    )
