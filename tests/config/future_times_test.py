"""Event times from the far future are not believed."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tensorflow as tf
from evicting_table import ids_of
from evicting_table import make
from evicting_table import update

import monolith_tf as mt
from monolith_tf.checkpoint import keras_file

FAR_FUTURE = 2**32 - 1


def poisoned(**arguments):
    """A table that believed one event from the far future."""
    table = make(
        mt.Eviction(ttl_seconds=1000, max_future_seconds=0, **arguments)
    )
    update(table, range(50), event_time=int(time.time()))
    # Sweeps only where the id belongs.
    table.assign([1000], [[1.0]], event_time=FAR_FUTURE)
    return table


def test_an_event_from_the_far_future_expires_no_row(shards):
    table = make(mt.Eviction(ttl_seconds=30 * 86400))
    now = int(time.time())
    update(table, range(50), event_time=now)
    update(table, [1000], event_time=FAR_FUTURE)
    table.assign([1001], [[1.0]], event_time=FAR_FUTURE)
    update(table, range(50), event_time=now + 1)
    # Two steps of each row: none was made anew in between.
    np.testing.assert_array_equal(table.lookup(range(50)), -np.ones([50, 1]))
    assert table.stats().num_expired == 0
    # Each server sees the time of an update, and that of its assignments.
    assert table.stats().num_future_times >= shards
    assert {clock for _, clock in table.table_set.clocks("table")} == {now + 1}


def test_without_a_limit_a_time_is_believed_and_set_clock_repairs_it(shards):
    table = poisoned()
    now = int(time.time())
    # Time passes on servers that have no id of an update, too.
    update(table, [1001], event_time=FAR_FUTURE)
    update(table, range(50), event_time=now)
    update(table, range(50), event_time=now)
    # Every update starts its row anew, which expires at once.
    np.testing.assert_array_equal(table.lookup(range(50)), np.ones([50, 1]))
    table.set_clock(now)
    clocks = table.table_set.clocks("table")
    assert [clock for _, clock in clocks] == [now] * shards
    assert all(step > 0 for step, _ in clocks)
    update(table, range(50), event_time=now)
    update(table, range(50), event_time=now)
    np.testing.assert_array_equal(table.lookup(range(50)), -np.ones([50, 1]))


def test_a_clock_is_not_set_to_the_far_future():
    table = make(mt.Eviction(ttl_seconds=1000))
    with pytest.raises(Exception, match="at most 86400 seconds .* ahead"):
        table.set_clock(FAR_FUTURE)
    with pytest.raises(TypeError, match="int64 seconds"):
        table.set_clock(1.5)


@pytest.mark.parametrize("kind", ["checkpoint", "keras"])
def test_a_restore_repairs_a_clock_from_the_far_future(kind, shards, tmp_path):
    table = poisoned()
    now = int(time.time())
    saved = ids_of(table)
    assert len(saved) > 40
    with mt.TableSet(num_shards=2):
        restored = make(mt.Eviction(ttl_seconds=1000))
    if kind == "checkpoint":
        path = tf.train.Checkpoint(table=table).write(str(tmp_path / "c"))
        tf.train.Checkpoint(table=restored).read(path)
    else:
        store = {}
        keras_file.save_tables([table], store)
        store = {name: np.asarray(value) for name, value in store.items()}
        keras_file.load_tables([restored], store)
    assert ids_of(restored) == saved
    for _, clock in restored.table_set.clocks("table"):
        assert now - 60 <= clock <= now
    update(restored, saved[:40], event_time=now)
    np.testing.assert_array_equal(
        restored.lookup(saved[:40]), -np.ones([40, 1])
    )
    assert restored.stats().num_future_times > 0
