"""Times of rows that are restored into a table that goes by them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint import table_state
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.checkpoint.table_rows import import_rows

NOW = 1_700_000_000
TTL = mt.Eviction(ttl_seconds=100)
WITHOUT_TIMES = {"tracks_changes": False}


def make(num_shards=1, **arguments):
    with mt.TableSet(num_shards=num_shards):
        return mt.Table(
            mt.TableConfig(
                "item", dim=1, optimizer=mt.optimizers.SGD(0.1), **arguments
            )
        )


def update(table, ids, **arguments):
    ids = np.array(ids, np.int64)
    arguments.setdefault("event_time", NOW)
    table.apply_gradients(ids, np.ones([len(ids), 1]), **arguments)


def move(table, other, path):
    saved = tf.train.Checkpoint(table=table).save(str(path / "c"))
    tf.train.Checkpoint(table=other).restore(saved)


def times_of(table):
    return {
        int(id): int(stamp)
        for ids, stamps, _ in export_rows(table)
        for id, stamp in zip(ids, stamps, strict=True)
    }


@pytest.mark.parametrize("num_shards", [1, 3])
def test_rows_that_were_saved_without_times_live_for_a_ttl(
    num_shards, tmp_path
):
    table = make(2, **WITHOUT_TIMES)
    update(table, range(50))
    other = make(num_shards, eviction=TTL)
    move(table, other, tmp_path)
    assert other.size() == 50
    assert times_of(other) == dict.fromkeys(range(50), NOW)
    # An update of another id sweeps, and sees none that is due.
    update(other, [99], event_time=NOW + 100)
    assert other.sweep(event_time=NOW + 100) == 0
    assert other.sweep(event_time=NOW + 101) == 50


def test_a_restore_in_a_function_stamps_them_too(tmp_path):
    table = make(2, **WITHOUT_TIMES)
    update(table, range(50))
    tensors = table_state.serialize(table)
    other = make(2, eviction=TTL)

    @tf.function
    def restore():
        other._restore_from_tensors(tensors)

    restore()
    assert times_of(other) == dict.fromkeys(range(50), NOW)


def test_a_keras_file_without_times_is_stamped_too(tmp_path):
    def make_model(**arguments):
        inputs = tf_keras.Input([], dtype="int64", name="ids")
        config = mt.TableConfig("item", dim=1, **arguments)
        with mt.TableSet():
            layer = mt.layers.DynamicEmbedding(config)
        return tf_keras.Model(inputs, layer(inputs)), layer

    model, layer = make_model(**WITHOUT_TIMES)
    update(layer.table, range(50))
    store = {}
    layer.save_own_variables(store)
    other, other_layer = make_model(eviction=TTL)
    other_layer.load_own_variables(
        {key: np.asarray(value) for key, value in store.items()}
    )
    assert times_of(other_layer.table) == dict.fromkeys(range(50), NOW)
    del model, other


def test_rows_that_are_imported_without_times_are_those_of_now():
    table = make(**WITHOUT_TIMES)
    update(table, range(50))
    other = make(2, eviction=TTL)
    with mt.event_time(NOW + 7):
        for part in export_rows(table):
            import_rows(other, *part)
    assert times_of(other) == dict.fromkeys(range(50), NOW + 7)
    # From then on, the latest time that the table has seen.
    third = make(eviction=TTL)
    update(third, [99], event_time=NOW + 50)
    for part in export_rows(table):
        import_rows(third, *part)
    assert third.sweep(event_time=NOW + 150) == 0
    assert third.size() == 51


def test_rows_with_times_keep_them(tmp_path):
    table = make(eviction=TTL)
    update(table, [1], event_time=NOW)
    update(table, [2], event_time=NOW + 60)
    other = make(eviction=TTL)
    move(table, other, tmp_path)
    assert times_of(other) == {1: NOW, 2: NOW + 60}
    assert other.sweep(event_time=NOW + 101) == 1


def test_another_ttl_moves_all_ends_by_the_difference(tmp_path):
    table = make(eviction=mt.Eviction(ttl_seconds=1000))
    update(table, [1], ttl_seconds=50)
    update(table, [2])
    # Id 1 is stamped 950 seconds earlier: at a ttl of 100 it is long over.
    shorter = make(eviction=mt.Eviction(ttl_seconds=100))
    move(table, shorter, tmp_path)
    shorter.sweep(event_time=NOW)
    assert times_of(shorter) == {2: NOW}
    assert shorter.sweep(event_time=NOW + 100) == 0
    assert shorter.sweep(event_time=NOW + 101) == 1
    longer = make(eviction=mt.Eviction(ttl_seconds=1500))
    move(table, longer, tmp_path)
    assert longer.sweep(event_time=NOW + 50 + 500) == 0
    assert longer.sweep(event_time=NOW + 50 + 501) == 1
