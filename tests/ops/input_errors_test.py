"""Inputs of wrong shapes are refused eagerly, with what was received.

Eager calls do not run shape functions, so these are the errors of kernels.
"""

from __future__ import annotations

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.ops import FeatureBatch
from monolith_tf.ops.library import library


@pytest.fixture
def handle(request):
    handle = ops.table_set_handle(request.node.name)
    with mt.TableSet():
        create(handle)
    yield handle
    tf.raw_ops.DestroyResourceOp(resource=handle)


def create(handle, **changes):
    attributes = mt.TableConfig("a", dim=2).op_attributes(0, 1)
    ops.table_create(handle, attributes=attributes | changes, generation=1)


def int64(values):
    return tf.constant(values, tf.int64)


def partition_gradients(**changes):
    request = {
        "global_step": int64(1),
        "event_time": int64(1),
        "learning_rates": tf.ones([1]),
        "ids": [int64([1, 2])],
        "gradients": [tf.ones([2, 4])],
        "num_shards": 1,
    }
    return ops.partition_gradients(**(request | changes))


def partitioned(ids, splits=None, weights=None, combiner=None):
    feature = FeatureBatch(int64(ids), splits, weights, combiner)
    packed, positions = ops.partition([feature], num_shards=1)
    rows = [tf.ones([2 * (len(packed[0]) - 1)])]
    return ops.combine(packed, rows, positions, [feature], dims=[2])


TIME = int64(1000)
REFUSED = {
    "a handle that is a vector": (
        lambda h: ops.size(tf.stack([h, h]), table="a"),
        r"handle must be a scalar. Received: shape \[2\].",
    ),
    "ids that are a matrix": (
        lambda h: ops.remove(h, int64([[1], [2]]), table="a"),
        r"Table 'a': ids must be a vector. Received: shape \[2,1\].",
    ),
    "rows of another width": (
        lambda h: ops.assign(h, int64([1]), tf.ones([1, 3]), TIME, table="a"),
        r"Table 'a': rows must be \[1, 2\] for ids \[1\]. Received: shape "
        r"\[1,3\].",
    ),
    "pretrained rows that are a vector": (
        lambda h: ops.set_pretrained(
            h, int64([1]), tf.ones([1]), table="a", segment=0
        ),
        r"Table 'a': rows must be \[1, dim\] for ids \[1\]. Received: shape "
        r"\[1\].",
    ),
    "a time that is a vector": (
        lambda h: ops.sweep(h, int64([1]), table="a"),
        r"Table 'a': event_time must be a scalar. Received: shape \[1\].",
    ),
    "a time in milliseconds": (
        lambda h: ops.sweep(h, int64(1 << 40), table="a"),
        r"event_time must be seconds since the epoch, in \[0, 4294967295\]. "
        "Received: 1099511627776.",
    ),
    "a cut that is a vector": (
        lambda h: ops.take_delta(h, int64([1]), tables=["a"], dims=[2]),
        r"acked_cut must be a scalar. Received: shape \[1\].",
    ),
    "a cursor that has ended": (
        lambda h: ops.export_chunk(h, int64(-1), table="a", max_rows=1),
        "Table 'a': cursor must be 0 or the next_cursor of the previous call. "
        "Received: -1. A next_cursor of -1 ends the export.",
    ),
    "chunks of no rows": (
        lambda h: ops.export_chunk(h, int64(0), table="a", max_rows=0),
        "max_rows",
    ),
    "groups that do not exist": (
        lambda h: ops.export_groups(h, table="a", first_group=60, num_groups=5),
        "Table 'a': groups must be from 0 to 63. Received: 5 groups from 60 on",
    ),
    "keys of one column": (
        lambda h: ops.import_rows(h, int64([[1]]), tf.ones([1, 4]), table="a"),
        r"Table 'a': keys must be \[n, 2\], id and stamp. Received: shape "
        r"\[1,1\].",
    ),
    "whole rows of another number": (
        lambda h: ops.import_rows(
            h, int64([[1, 0]]), tf.ones([2, 4]), table="a"
        ),
        r"Table 'a': rows must be \[1, 4\], rows of 4 floats .* Received: "
        r"shape \[2,4\]. A checkpoint fits a table with",
    ),
    "filter words that are a matrix": (
        lambda h: ops.import_filter(h, int64([[1]]), table="a", group=0),
        r"Table 'a': words must be a vector. Received: shape \[1,1\].",
    ),
    "a clock of one number": (
        lambda h: ops.set_clock(h, int64([1]), table="a"),
        r"Table 'a': clock must be \[2\], global step and event time. "
        r"Received: shape \[1\].",
    ),
    "packed ids that are a matrix": (
        lambda h: ops.lookup(h, int64([[1, 5]]), tables=["a"], dims=[2]),
        r"packed must be a vector. Received: shape \[1,2\].",
    ),
    "a table set of another shard": (
        lambda h: create(h, shard=1, num_shards=2),
        r"Table set '.*' on server .* is shard 0 of 1. Received: table 'a' for "
        "shard 1 of 2.",
    ),
    "a list of too few optimizers": (
        lambda h: create(h, dims=[1, 1]),
        "optimizers must have 2 entries for the segments given. Received: 1.",
    ),
    "counts of more hyperparameters": (
        lambda h: create(h, num_hyperparameters=[9]),
        "num_hyperparameters must sum to the length of hyperparameters, .*. "
        "Received: 9.",
    ),
    "ids that are a scalar": (
        lambda h: partitioned(7),
        "Feature number 0: ids must have a batch dimension. Received: a "
        "scalar.",
    ),
    "row splits of a matrix": (
        lambda h: partitioned([[1, 2]], splits=int64([0, 2])),
        "ids with row splits must be a vector, and so must the splits. "
        r"Received: shapes \[1,2\] and \[2\].",
    ),
    "weights of another number": (
        lambda h: partitioned([1, 2], weights=tf.ones([3])),
        "Feature number 0: weights must have one entry per id, 2. Received: 3.",
    ),
    "default ids with weights of another shape": (
        lambda h: ops.fill_missing(
            [FeatureBatch(int64([1, 2]), weights=tf.ones([3]), default_id=7)]
        ),
        r"weights must have the shape of the ids, \[2\]. Received: shape "
        r"\[3\].",
    ),
    "a step that is a vector": (
        lambda h: partition_gradients(global_step=int64([1])),
        r"global_step must be a scalar. Received: shape \[1\].",
    ),
    "gradients of another number": (
        lambda h: partition_gradients(gradients=[tf.ones([3, 4])]),
        r"Table number 0: gradients must be \[2, dim\] for ids \[2\]. Received:"
        r" shape \[3,4\].",
    ),
    "ids of gradients that are a matrix": (
        lambda h: partition_gradients(ids=[int64([[1], [2]])]),
        r"Table number 0: ids must be a vector. Received: shape \[2,1\].",
    ),
    "positions of another shape": (
        lambda h: ops.slices(
            tf.ones([2, 4]), int64([0]), FeatureBatch(int64([1, 2])), dim=4
        ),
        r"ids and positions must have one shape. Received: shapes \[2\] and "
        r"\[1\].",
    ),
    "a gradient of another dim": (
        lambda h: ops.slices(
            tf.ones([2, 5]), int64([0, 1]), FeatureBatch(int64([1, 2])), dim=4
        ),
        r"gradient must be \[2,4\]. Received: shape \[2,5\].",
    ),
    "positions of more than first_n": (
        lambda h: ops.slices(
            tf.ones([2, 1, 4]),
            int64([[0, 1], [2, 3]]),
            FeatureBatch(
                int64([[1, 2], [3, 4]]),
                combiner="first_n",
                max_sequence_length=1,
            ),
            dim=4,
        ),
        "positions must be those that MonolithPartition returned for a feature "
        "of this combiner, at most 1 per list. Received: 2 in list 0.",
    ),
    "sparse indices of three columns": (
        lambda h: library.monolith_sparse_splits(
            [int64([[0, 0, 0]])], [int64([1, 1])]
        ),
        r"Sparse feature number 0: indices must be \[n, 2\] and dense_shape "
        r"\[2\]. Received: shapes \[1,3\] and \[2\].",
    ),
    "sparse ids of a negative number of rows": (
        lambda h: library.monolith_sparse_splits(
            [int64([[0, 0]])], [int64([-1, 1])]
        ),
        "dense_shape must start with the number of rows. Received: -1.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_inputs_are_refused_with_what_was_received(handle, name):
    call, message = REFUSED[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(handle)
