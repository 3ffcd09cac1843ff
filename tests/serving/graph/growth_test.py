"""The number of buckets that the growth rule says is the number there is."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from monolith_tf.serving.graph import growth


@pytest.mark.parametrize(
    ("rows", "buckets"),
    [(0, 4), (3, 4), (4, 8), (6, 8), (7, 16), (3072, 4096), (3073, 8192)],
)
def test_a_table_is_sized_to_hold_its_rows_without_growing(rows, buckets):
    assert growth.buckets_for(rows) == buckets


@pytest.mark.parametrize("start", [4, 64])
def test_the_rule_follows_the_kernel_through_many_inserts(start):
    table = tf.raw_ops.AnonymousMutableDenseHashTable(
        empty_key=tf.constant(-1, tf.int64),
        deleted_key=tf.constant(-2, tf.int64),
        value_dtype=tf.float32,
        value_shape=[2],
        initial_num_buckets=start,
        max_load_factor=growth.MAX_LOAD_FACTOR,
    )
    random = np.random.default_rng(7)
    buckets = tf.constant(start, tf.int64)
    for _ in range(40):
        # Some of these are known already: the kernel counts them all.
        keys = np.unique(random.integers(0, 500, random.integers(1, 40)))
        entries = tf.raw_ops.LookupTableSizeV2(table_handle=table)
        buckets = growth.buckets_after_insert(
            buckets, entries, tf.constant(len(keys), tf.int64)
        )
        tf.raw_ops.LookupTableInsertV2(
            table_handle=table,
            keys=tf.constant(keys, tf.int64),
            values=tf.zeros([len(keys), 2]),
        )
        exported = tf.raw_ops.LookupTableExportV2(
            table_handle=table, Tkeys=tf.int64, Tvalues=tf.float32
        )
        assert buckets.numpy() == len(exported.keys)


def test_an_insert_of_nothing_grows_nothing():
    full = growth.buckets_after_insert(
        tf.constant(4, tf.int64),
        tf.constant(3, tf.int64),
        tf.constant(0, tf.int64),
    )
    assert full.numpy() == 4


# Around these the counter once overflowed, and float32 rounds.
LARGE = [2**20, 2**23, 2**24, 2**25, 2**31, 2**32, 2**40, 2**61]


def kernel_rule(buckets, entries, inserted):
    """The loop of MutableDenseHashTable, with Python's integers."""
    load = np.float32(growth.MAX_LOAD_FACTOR)
    pending = np.float32(entries + inserted)
    while pending > np.float32(buckets) * load:
        buckets *= 2
    return buckets


def after(buckets, entries, inserted):
    return growth.buckets_after_insert(
        *(tf.constant(n, tf.int64) for n in (buckets, entries, inserted))
    ).numpy()


@pytest.mark.parametrize("buckets", LARGE)
@pytest.mark.parametrize("room", [-1000, -1, 0, 1, 1000])
def test_a_large_table_is_counted_as_the_kernel_counts_it(buckets, room):
    full = buckets // 4 * 3
    for inserted in (1, 200, 100_000):
        entries = full - inserted + room
        assert after(buckets, entries, inserted) == kernel_rule(
            buckets, entries, inserted
        )


@pytest.mark.parametrize("rows", LARGE)
def test_one_insert_may_double_a_table_many_times(rows):
    inserted = rows - 3
    assert after(4, 3, inserted) == kernel_rule(4, 3, inserted)


@pytest.mark.parametrize("rows", [1 << 20, 1 << 24, 1 << 31, 1 << 60, 3 << 60])
def test_a_table_of_many_rows_starts_large_enough(rows):
    buckets = growth.buckets_for(rows)
    assert rows <= buckets // 4 * 3 < 2 * rows
    assert after(buckets, rows - 1, 1) == buckets


def test_deltas_of_a_table_that_passes_2_to_the_24_buckets_are_counted():
    buckets, rows = 1 << 23, 6_200_000
    for _ in range(40):
        buckets = after(buckets, rows, 200_000)
        rows += 200_000
        assert buckets == growth.buckets_for(rows)


@pytest.mark.parametrize(
    ("entries", "inserted"),
    [
        (growth.MAX_ROWS, 1 << 61),
        (2**63 - 1, 1),
        (2**63 - 1, 2**63 - 1),
        (0, 2**63 - 1),
    ],
)
@pytest.mark.parametrize("buckets", [4, 1 << 24, growth.MAX_BUCKETS])
def test_the_counter_stops_before_int64_ends(buckets, entries, inserted):
    assert after(buckets, entries, inserted) == growth.MAX_BUCKETS


def test_more_rows_than_int64_counts_buckets_for_are_refused():
    assert growth.buckets_for(growth.MAX_ROWS) == growth.MAX_BUCKETS
    with pytest.raises(ValueError, match=r"at most 3458764513820540928 rows"):
        growth.buckets_for(growth.MAX_ROWS + 1)
