"""Memory that is ready for rows to come."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops

ROWS = 60_000
ROW_BYTES = 16 + 2 * 16 * 4


def make_config(initial_capacity, name="item", **arguments):
    return mt.TableConfig(
        name,
        dim=16,
        optimizer=mt.optimizers.Adagrad(0.1),
        initial_capacity=initial_capacity,
        **arguments,
    )


@pytest.mark.parametrize("num_shards", [1, 3])
def test_memory_and_index_are_there_before_the_rows(num_shards):
    with mt.TableSet(num_shards=num_shards):
        table = mt.Table(make_config(ROWS))
        plain = mt.Table(make_config(0, name="plain"))
    before = table.stats()
    assert before.num_rows == 0
    assert before.pool_bytes >= ROWS * ROW_BYTES
    assert before.memory_bytes >= before.pool_bytes >= before.idle_bytes
    assert table.memory_bytes() >= ROWS * ROW_BYTES
    assert plain.stats().pool_bytes < ROWS
    ids = np.arange(ROWS) * 7
    table.apply_gradients(ids, tf.ones([ROWS, 16]))
    after = table.stats()
    assert after.num_rows == ROWS
    assert after.pool_bytes <= before.pool_bytes * 9 / 8
    # Nothing was split on the way.
    assert after.num_rows / after.load_factor == pytest.approx(
        before.index_capacity, rel=1e-6
    )


def test_rows_are_the_same_with_and_without():
    ids = np.arange(5000)
    rows = []
    for capacity in (0, 100, 50_000):
        with mt.TableSet(num_shards=2):
            table = mt.Table(make_config(capacity))
        table.apply_gradients(ids, tf.ones([5000, 16]))
        table.remove(ids[::3])
        rows.append(table.lookup(ids).numpy())
    np.testing.assert_array_equal(rows[1], rows[0])
    np.testing.assert_array_equal(rows[2], rows[0])


def test_it_says_nothing_of_the_rows(tmp_path):
    ids = np.arange(1000)
    with mt.TableSet():
        table = mt.Table(make_config(ROWS))
    table.apply_gradients(ids, tf.ones([1000, 16]))
    path = tf.train.Checkpoint(table=table).save(tmp_path / "checkpoint")
    assert make_config(ROWS).same_as(make_config(0))
    # Restored where none is ready, and where memory for others is.
    for capacity in (0, 2 * ROWS):
        with mt.TableSet(num_shards=2):
            other = mt.Table(make_config(capacity))
        tf.train.Checkpoint(table=other).restore(path).assert_consumed()
        np.testing.assert_array_equal(other.lookup(ids), table.lookup(ids))
        if capacity:
            assert other.stats().pool_bytes >= capacity * ROW_BYTES


def test_the_config_round_trips():
    config = make_config(np.int64(123))
    described = config.get_config()
    assert described["initial_capacity"] == 123
    assert mt.TableConfig.from_config(described).initial_capacity == 123
    # As saved before there was one.
    del described["initial_capacity"]
    assert mt.TableConfig.from_config(described).initial_capacity == 0


def test_servers_share_it():
    config = make_config(10)
    assert config.capacity_share(1) == 10
    assert config.capacity_share(4) == 3
    assert make_config(0).capacity_share(4) == 0


@pytest.mark.parametrize(
    ("capacity", "error", "message"),
    [
        (-1, ValueError, "from 0 to 2.36 rows.*=-1"),
        ((1 << 36) + 1, ValueError, "from 0 to 2.36 rows"),
        (1e6, TypeError, "must be an integer"),
        (True, TypeError, "must be an integer"),
        (None, TypeError, "must be an integer"),
    ],
)
def test_a_bad_capacity_says_what_is_wrong(capacity, error, message):
    with pytest.raises(error, match=f"initial_capacity.*{message}"):
        make_config(capacity)


def test_a_capacity_above_the_cap_is_refused():
    def make(capacity):
        return mt.TableConfig(
            "item",
            dim=16,
            eviction=mt.Eviction(max_rows=10),
            initial_capacity=capacity,
        )

    with pytest.raises(
        ValueError,
        match="'item'.*at most max_rows, or raise.*=11, max_rows=10",
    ):
        make(11)
    # Shares of servers are rounded, each its own way.
    with mt.TableSet(num_shards=4):
        table = mt.Table(make(10))
    table.apply_gradients(np.arange(50), tf.ones([50, 16]))
    assert table.size() <= 10


def test_what_one_server_refuses_the_others_do_not_keep(monkeypatch):
    make = ops.table_create

    def make_on_the_second(handle, *, attributes, **arguments):
        if attributes["shard"] == 1 and attributes["initial_capacity"]:
            attributes = attributes | {"initial_capacity": 1 << 35}
        return make(handle, attributes=attributes, **arguments)

    monkeypatch.setattr(ops, "table_create", make_on_the_second)
    with mt.TableSet(num_shards=2):
        with pytest.raises(tf.errors.ResourceExhaustedError):
            mt.Table(make_config(ROWS))
        table = mt.Table(make_config(0))
    assert table.stats().pool_bytes < 1 << 20


def test_a_server_without_the_memory_refuses():
    with (
        mt.TableSet(),
        pytest.raises(
            tf.errors.ResourceExhaustedError,
            match="initial_capacity of 68719476736 rows.*use more servers",
        ),
    ):
        mt.Table(make_config(1 << 36))
