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
