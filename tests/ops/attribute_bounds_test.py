"""Attributes and sizes that cannot be right are refused, never a crash.

Eager calls come without the checks of shape functions, so each kernel has its
own. What is refused here ended the process, or hung it, or read elsewhere.
"""

from __future__ import annotations

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.ops.library import library

HUGE = 1 << 60


def int64(values):
    return tf.constant(values, tf.int64)


def shared(**changes):
    """Attributes of ops on one feature of two ids without a combiner."""
    attributes = {
        "num_tables": 1,
        "feature_tables": [0],
        "combiners": ["none"],
        "ns": [0],
        "ragged": [False],
    }
    return attributes | changes


def partitioned(ids=(1, 2), splits=(), **changes):
    attributes = {"num_shards": 1, "padded": [False], "padding_ids": [0]}
    attributes |= shared() | changes
    ids = tf.convert_to_tensor(ids, tf.int64)
    return library.monolith_partition([ids], list(splits), **attributes)


def combined(dims=(4,), weights=(), num_floats=8, **changes):
    attributes = {"weighted": [False], "dims": list(dims)}
    return library.monolith_combine(
        [int64([2, 1, 2])],
        [tf.ones([num_floats])],
        [int64([0, 1])],
        [],
        list(weights),
        **(attributes | shared() | changes),
    )


def combined_gradients(**changes):
    attributes = {
        "gradients": [tf.ones([2, 4])],
        "weighted": [False],
        "gradient_of": [0],
        "first_columns": [-1],
        "tables": [0],
        "dims": [4],
        "overrides": [],
    }
    return library.monolith_combine_gradients(
        global_step=int64(1),
        event_time=int64(1),
        learning_rates=tf.ones([1]),
        packed_ids=[int64([2, 1, 2])],
        positions=[int64([0, 1])],
        splits=[],
        weights=[],
        **(attributes | shared() | changes),
    )


def slices(**changes):
    request = {
        "gradient": tf.ones([2, 4]),
        "ids": int64([1, 2]),
        "positions": int64([0, 1]),
        "splits": [],
        "weights": [],
        "combiner": "none",
        "n": 0,
        "dim": 4,
    }
    return library.monolith_slices(**(request | changes))


def of_tables(op, **request):
    handle = ops.table_set_handle("bounds of attributes")
    for name, dim in (("a", 2), ("b", 3)):
        ops.table_create(
            handle,
            attributes=mt.TableConfig(name, dim=dim).op_attributes(0, 1),
            generation=1,
        )
    ops.start_deltas(handle)
    return op(handle, **request)


REFUSED = {
    "vectors of 2^60 a list": (
        lambda: combined(
            combiners=["first_n"], ns=[HUGE], dims=[65536], num_floats=131072
        ),
        r"must fit into a tensor. Received: shape "
        r"\[2,1152921504606846976,65536\]",
    ),
    "a rank above that of tensors": (
        lambda: partitioned_and_combined(tf.zeros([1] * 254, tf.int64)),
        "must fit into a tensor",
    ),
    "gradients of vectors of 2^60 a list": (
        lambda: combined_gradients(
            combiners=["first_n"], ns=[HUGE], dims=[65536]
        ),
        "must fit into a tensor",
    ),
    "slices of vectors of 2^60 a list": (
        lambda: slices(combiner="first_n", n=HUGE, dim=65536),
        "must fit into a tensor",
    ),
    "a combiner that is refused before a table far away": (
        lambda: combined_gradients(
            combiners=["mean"], ns=[2], feature_tables=[1 << 30]
        ),
        "`n` must be positive for combiner 'first_n' and 0 for others. "
        "Received: n = 2 for 'mean'",
    ),
    "a number of tables that no memory holds": (
        lambda: combined_gradients(num_tables=1 << 60),
        "num_tables",
    ),
    "a first column beyond the gradient": (
        lambda: combined_gradients(first_columns=[1 << 40]),
        r"must be \[2,4\] in the columns from 1099511627776 on. Received: "
        r"shape \[2,4\]",
    ),
    "a first column just beyond it": (
        lambda: combined_gradients(first_columns=[1]),
        r"must be \[2,4\] in the columns from 1 on. Received: shape \[2,4\]",
    ),
    "a first column that overflows": (
        lambda: combined_gradients(first_columns=[(1 << 63) - 1]),
        r"`first_columns` must be columns in \[0, 1099511627776\], or -1 .*"
        "Received: 9223372036854775807",
    ),
    "a negative first column": (
        lambda: combined_gradients(first_columns=[-2]),
        "`first_columns` must be columns .*Received: -2",
    ),
    "a negative dim of gradients": (
        lambda: combined_gradients(dims=[-1]),
        r"`dims` must be in \[1, 65536\]. Received: -1",
    ),
    "a dim of gradients too many": (
        lambda: combined_gradients(dims=[4, 4]),
        "`dims` must have one entry per table. Received: 2 entries for 1 ",
    ),
    "a negative dim": (
        lambda: combined(dims=[-1]),
        r"`dims` must be in \[1, 65536\]. Received: -1",
    ),
    "a dim of 0": (
        lambda: combined(dims=[0]),
        r"`dims` must be in \[1, 65536\]. Received: 0",
    ),
    "a dim above the largest": (
        lambda: combined(dims=[HUGE]),
        rf"`dims` must be in \[1, 65536\]. Received: {HUGE}",
    ),
    "a dim of slices above the largest": (
        lambda: slices(gradient=tf.ones([0, 4]), dim=HUGE),
        rf"`dims` must be in \[1, 65536\]. Received: {HUGE}",
    ),
    "two tensors of weights for a feature": (
        lambda: slices(weights=[tf.ones([2])] * 2),
        "at most one tensor of row splits and one of weights. Received: 0 and "
        "2",
    ),
    "more tables than memory": (
        lambda: partitioned(num_tables=HUGE),
        rf"`num_tables` must be in \[1, 65536\], .*num_tables = {HUGE}",
    ),
    "more counts than memory": (
        lambda: partitioned(num_tables=65536, num_shards=4096),
        r"num_tables \* num_shards at most 16777216. "
        "Received: num_tables = 65536",
    ),
    "more shards than partitions": (
        lambda: partitioned(num_shards=4097),
        r"`num_shards` must be in \[1, 4096\]. Received: 4097",
    ),
    "features without ids": (
        lambda: partitioned(
            combiners=["none"] * 2,
            ns=[0] * 2,
            ragged=[False] * 2,
            feature_tables=[0] * 2,
            padded=[False] * 2,
            padding_ids=[0] * 2,
        ),
        "combiners must have one entry per feature, 1. Received: 2",
    ),
    "splits that no feature has": (
        lambda: partitioned(splits=[int64([0, 2])]),
        "splits must have one entry per ragged feature, 0. Received: 1",
    ),
    "weights that no feature has": (
        lambda: combined(weights=[tf.ones([2])]),
        "weights must have one entry per weighted feature, 0. Received: 1",
    ),
    "weights of more features than there are": (
        lambda: combined(weighted=[False, False]),
        "weighted must have one entry per feature, 1. Received: 2",
    ),
    "more exact words than numbers": (
        lambda: library.monolith_widen(
            tf.zeros([3], tf.uint16), format="float16", num_exact=1 << 62
        ),
        f"num_exact must be from 0 to 1099511627776. Received: {1 << 62}",
    ),
    "more exact floats than numbers": (
        lambda: library.monolith_narrow(
            tf.zeros([3]), format="float16", num_exact=(1 << 63) - 1
        ),
        "num_exact must be from 0 to 1099511627776. Received: "
        "9223372036854775807",
    ),
    "a table without a dim": (
        lambda: of_tables(
            library.monolith_lookup,
            packed=int64([0, 0]),
            tables=["a", "b"],
            dims=[2],
        ),
        "`dims` must have one entry per table. Received: 1 entries for 2 ",
    ),
    "a delta of fewer tables than outputs": (
        lambda: of_tables(
            library.monolith_take_delta,
            acked_cut=int64(0),
            tables=["a", "b"],
            dims=[2, 3],
            num_tables=1,
        ),
        "tables must have num_tables entries, 1. Received: 2",
    ),
    "a segment whose number is too long": (
        lambda: of_tables(
            library.monolith_set_pretrained,
            ids=int64([1]),
            rows=tf.ones([1, 2]),
            table="a",
            segment=1 << 32,
        ),
        "Table 'a': segment must be from 0 to 65535. Received: 4294967296",
    ),
}


def partitioned_and_combined(ids):
    packed, positions = partitioned(ids)
    return library.monolith_combine(
        list(packed),
        [tf.ones([4])],
        list(positions),
        [],
        [],
        weighted=[False],
        dims=[4],
        **shared(),
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused_with_what_was_passed(name):
    call, message = REFUSED[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call()


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_a_function_too(name):
    call, _ = REFUSED[name]

    @tf.function(autograph=False)
    def run():
        outputs = call()
        return None if isinstance(outputs, tf.Operation) else outputs

    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        run()


@pytest.mark.slow
def test_lists_without_ids_may_be_any_number():
    """Nothing walks over what takes no memory."""
    packed, positions = partitioned_lists(tf.zeros([HUGE, 0], tf.int64))
    assert packed[0].numpy().tolist() == [0]
    assert positions[0].shape == [HUGE, 0]
    with pytest.raises(tf.errors.ResourceExhaustedError):
        ops.fill_missing(
            [
                ops.FeatureBatch(
                    tf.zeros([HUGE, 0], tf.int64), combiner="sum", default_id=1
                )
            ]
        )


def partitioned_lists(ids):
    return library.monolith_partition(
        [ids],
        [],
        num_shards=1,
        padded=[False],
        padding_ids=[0],
        **shared(combiners=["first_n"], ns=[2]),
    )


def test_a_feature_of_too_many_vectors_says_so_where_it_is_used():
    feature = ops.FeatureBatch(
        tf.zeros([1 << 18, 1], tf.int64),
        combiner="first_n",
        max_sequence_length=2**31 - 1,
    )
    packed, positions = ops.partition([feature], num_shards=1)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"must fit into a tensor. Received: .* for ids \[262144,1\]",
    ):
        ops.combine(
            packed, [tf.ones([65536])], positions, [feature], dims=[65536]
        )
