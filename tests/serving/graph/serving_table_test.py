"""Rows, tombstones and counters of one table in a server."""

from __future__ import annotations

import secrets

import numpy as np
import pytest
import tensorflow as tf

from monolith_tf.config import initializers
from monolith_tf.config.table_config import TableConfig
from monolith_tf.serving.graph.reserved_ids import DELETED_ID
from monolith_tf.serving.graph.reserved_ids import EMPTY_ID
from monolith_tf.serving.graph.serving_table import ServingTable
from monolith_tf.stock_ops import hashing
from monolith_tf.stock_ops.initial_rows import initial_rows

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
EXTREMES = [0, -1, INT64_MIN, INT64_MAX, EMPTY_ID, DELETED_ID]


def make_table(initializer=None, num_buckets=8, dim=2, salt=0):
    return ServingTable(
        TableConfig(
            "movie",
            dim,
            initializer=initializer or initializers.Constant(0.5),
            seed=7,
        ),
        shared_name=secrets.token_hex(8),
        salt=salt,
        num_buckets=num_buckets,
    )


def apply(table, changes):
    live = [row is not None for row in changes.values()]
    rows = [row for row in changes.values() if row is not None]
    return table.apply(
        tf.constant(list(changes), tf.int64),
        tf.constant(live, tf.bool),
        tf.reshape(tf.constant(rows, tf.float32), [-1, table.dim]),
    )


def lookup(table, ids):
    rows, live = table.lookup(tf.constant(ids, tf.int64))
    return rows.numpy().tolist(), live.numpy().tolist()


def status(table):
    return [int(number) for number in table.status()]


def test_a_row_is_read_as_it_was_set():
    table = make_table()
    assert apply(table, {5: [1.0, 2.0], 6: [3.0, 4.0]}).numpy() == 2
    assert lookup(table, [6, 7, 5, 6]) == (
        [[3.0, 4.0], [0.5, 0.5], [1.0, 2.0], [3.0, 4.0]],
        [1, 0, 1, 1],
    )
    assert status(table) == [2, 0, 8]


def test_a_tombstone_brings_the_initial_row_back_and_is_counted():
    table = make_table()
    apply(table, {5: [1.0, 2.0], 6: [3.0, 4.0]})
    apply(table, {5: None})
    assert lookup(table, [5, 6]) == ([[0.5, 0.5], [3.0, 4.0]], [0, 1])
    assert status(table)[:2] == [1, 1]
    apply(table, {5: None})
    assert status(table)[:2] == [1, 1]


def test_a_dead_row_lives_again():
    table = make_table()
    apply(table, {5: [1.0, 2.0]})
    apply(table, {5: None})
    apply(table, {5: [7.0, 8.0]})
    assert lookup(table, [5]) == ([[7.0, 8.0]], [1])
    assert status(table)[:2] == [1, 0]


def test_a_tombstone_of_an_unknown_id_takes_no_bucket():
    table = make_table()
    apply(table, {id_: None for id_ in [*range(100), *EXTREMES]})
    assert status(table) == [0, 0, 8]


@pytest.mark.parametrize("id_", EXTREMES)
@pytest.mark.parametrize("salt", [0, -1, 0x1234567])
def test_every_id_goes_through_insert_tombstone_and_lookup(id_, salt):
    table = make_table(salt=salt)
    assert lookup(table, [id_]) == ([[0.5, 0.5]], [0])
    apply(table, {id_: [1.0, 2.0], 77: [3.0, 4.0]})
    assert lookup(table, [id_, 77]) == ([[1.0, 2.0], [3.0, 4.0]], [1, 1])
    assert status(table)[:2] == [2, 0]
    apply(table, {id_: [5.0, 6.0]})
    assert lookup(table, [id_, 77]) == ([[5.0, 6.0], [3.0, 4.0]], [1, 1])
    apply(table, {77: [7.0, 8.0], id_: None})
    assert lookup(table, [id_, 77]) == ([[0.5, 0.5], [7.0, 8.0]], [0, 1])
    assert status(table)[:2] == [1, 1]
    apply(table, {id_: [9.0, 9.0]})
    assert lookup(table, [id_]) == ([[9.0, 9.0]], [1])
    assert status(table)[:2] == [2, 0]


def test_ids_whose_keys_are_those_of_the_hash_table_are_ordinary():
    table = make_table()
    # The keys that mark buckets are mixed ids; as ids they are like others.
    ids = [
        int(np.uint64(hashing.mix64(reserved)).astype(np.int64))
        for reserved in (EMPTY_ID, DELETED_ID)
    ]
    apply(table, {ids[0]: [1.0, 2.0], ids[1]: [3.0, 4.0]})
    assert lookup(table, ids) == ([[1.0, 2.0], [3.0, 4.0]], [1, 1])


def test_rows_keep_every_bit():
    table = make_table()
    bits = np.array(
        [[0x80000000, 0x7FC01234], [0x00000001, 0xFF800000]], np.uint32
    )
    rows = bits.view(np.float32)
    table.apply(
        tf.constant([5, EMPTY_ID], tf.int64),
        tf.constant([True, True]),
        tf.constant(rows),
    )
    read, _ = table.lookup(tf.constant([5, EMPTY_ID], tf.int64))
    np.testing.assert_array_equal(read.numpy().view(np.uint32), bits)


@pytest.mark.parametrize(
    "initializer",
    [
        initializers.Zeros(),
        initializers.Constant(-1.5),
        initializers.RandomUniform(-0.1, 0.3),
        initializers.TruncatedNormal(0.2, 0.7),
    ],
    ids=lambda initializer: initializer.kind,
)
def test_unseen_and_dead_ids_read_their_initial_rows(initializer):
    table = make_table(initializer, dim=5)
    dead = [3, EMPTY_ID]
    apply(table, {id_: [1.0] * 5 for id_ in dead})
    apply(table, {id_: None for id_ in dead})
    ids = tf.constant([*EXTREMES, 3, 1 << 40], tf.int64)
    expected = initial_rows(table.config, ids).numpy()
    if initializer.kind != "zeros" and initializer.kind != "constant":
        assert len(np.unique(expected)) == expected.size
    for read in (table.lookup, tf.function(table.lookup)):
        rows, live = read(ids)
        np.testing.assert_array_equal(
            rows.numpy().view(np.uint32), expected.view(np.uint32)
        )
        assert not live.numpy().any()


@pytest.mark.slow
@pytest.mark.parametrize("number", [2**20, 2**24, 2**31, 2**61, 2**62])
def test_counters_of_a_table_of_any_size_count_on(number):
    table = make_table()
    # As if it had this many rows: so large a table fits no test.
    table._live.assign(number)
    table._dead.assign(number)
    table._buckets.assign(number)
    for id_ in range(20):
        apply(table, {id_: [1.0, 2.0], id_ + 100: [3.0, 4.0]})
        apply(table, {id_ + 100: None})
    assert status(table) == [number + 20, number + 20, number]
    assert lookup(table, [19, 119]) == ([[1.0, 2.0], [0.5, 0.5]], [1, 0])


def test_lookups_of_nothing_read_nothing():
    rows, live = make_table().lookup(tf.zeros([0], tf.int64))
    assert rows.shape == [0, 2]
    assert live.shape == [0]


def test_ids_that_share_their_low_bits_are_as_fast_as_others():
    # DenseHashTable takes the low bits of a key as its bucket: unmixed, these
    # are all in one and the insert takes minutes.
    table = make_table(num_buckets=1 << 17)
    ids = tf.range(60_000, dtype=tf.int64) * (1 << 40)
    table.apply(ids, tf.fill([60_000], True), tf.zeros([60_000, 2]))
    _, live = table.lookup(ids)
    assert live.numpy().all()


@pytest.mark.slow
def test_twenty_times_the_buckets_inserted_and_evicted_leaves_it_working():
    table = make_table(num_buckets=64)
    apply_function = tf.function(table.apply)
    kept = {id_: [float(id_), 0.5] for id_ in range(-8, 0)}
    apply(table, kept)
    batch = 40
    for start in range(0, 20 * 64, batch):
        ids = tf.range(start, start + batch, dtype=tf.int64)
        rows = tf.fill([batch, 2], float(start))
        apply_function(ids, tf.fill([batch], True), rows)
        apply_function(ids, tf.fill([batch], False), rows[:0])
    live, dead, buckets = status(table)
    assert (live, dead) == (8, 1280)
    exported = tf.raw_ops.LookupTableExportV2(
        table_handle=table._map.resource_handle,
        Tkeys=tf.int64,
        Tvalues=tf.float32,
    )
    assert buckets == len(exported.keys) == 2048
    assert lookup(table, [0, 1279, 99_999, -8]) == (
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [-8.0, 0.5]],
        [0, 0, 0, 1],
    )
