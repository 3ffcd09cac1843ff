"""What the ops on features do, in stock TensorFlow ops.

An export holds no op of this library, and what TensorFlow differentiates twice
needs ops that it knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.ops.feature_ops import FeatureBatch


def valid_ids(feature: FeatureBatch) -> tf.Tensor | None:
    """Tells which ids are asked for.

    Returns:
        bool of the shape of the ids, False for padding and for what first_n
        cuts off; or None when all are.
    """
    if feature.padding_id is None and feature.combiner != "first_n":
        return None
    if feature.padding_id is None:
        valid = tf.fill(tf.shape(feature.ids), True)
    else:
        valid = tf.not_equal(
            feature.ids, tf.constant(feature.padding_id, tf.int64)
        )
    if feature.combiner != "first_n":
        return valid
    flat = tf.reshape(valid, [-1])
    number = _number_in_list(flat, *_lists(feature))
    return tf.reshape(flat & (number < feature.n), tf.shape(feature.ids))


def stock_combine(
    rows: tf.Tensor, valid: tf.Tensor | None, feature: FeatureBatch
) -> tf.Tensor:
    """Makes a feature's vectors of the rows of its ids.

    Args:
        rows: float32 `[m, dim]`, of the ids that are asked for, in order.
        valid: bool of the shape of the ids, which are, as of `valid_ids`.
        feature: The feature.

    Returns:
        float32, of the shape that `combine` gives, with equal values.
    """
    dim = rows.shape[-1]
    flat = None if valid is None else tf.reshape(valid, [-1])
    weights = None
    if feature.weights is not None:
        weights = _kept(tf.reshape(feature.weights, [-1]), flat)
        rows = rows * weights[:, tf.newaxis]
    if feature.combiner is None:
        if flat is not None:
            rows = tf.scatter_nd(
                tf.where(flat), rows, [tf.size(flat, tf.int64), dim]
            )
        shape = tf.concat([tf.shape(feature.ids), [dim]], axis=0)
        return tf.ensure_shape(
            tf.reshape(rows, shape), feature.ids.shape + [dim]
        )
    list_of_id, num_lists = _lists(feature)
    list_of_row = _kept(list_of_id, flat)
    if feature.combiner == "first_n":
        number = _kept(_number_in_list(flat, list_of_id, num_lists), flat)
        combined = tf.scatter_nd(
            tf.stack([list_of_row, number], axis=1),
            rows,
            [num_lists, feature.n, dim],
        )
    else:
        combined = _divided_sums(
            rows, weights, list_of_row, num_lists, feature.combiner
        )
    return _in_shape(combined, feature)


def stock_sparse_splits(values: Sequence[tf.SparseTensor]) -> list[tf.Tensor]:
    """Does what `sparse_splits` does, but for the check of the order."""
    return [
        tf.searchsorted(
            value.indices[:, 0],
            tf.range(value.dense_shape[0] + 1),
            out_type=tf.int64,
        )
        for value in values
    ]


def stock_checked_weights(
    weights: tf.Tensor, places: tf.Tensor, expected: tf.Tensor
) -> tf.Tensor:
    """Does what `checked_weights` does."""
    check = tf.debugging.assert_equal(
        places,
        expected,
        message="weights must stand where ids stand: row splits (of sparse "
        "tensors the indices) of the ids and of the weights differ.",
    )
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(weights)


def _kept(values: tf.Tensor, flat: tf.Tensor | None) -> tf.Tensor:
    return values if flat is None else tf.boolean_mask(values, flat)


def _divided_sums(rows, weights, segments, num_lists, combiner) -> tf.Tensor:
    sums = tf.math.unsorted_segment_sum(rows, segments, num_lists)
    if combiner == "sum":
        return sums
    if weights is None:
        weights = tf.ones_like(segments, rows.dtype)
    if combiner == "sqrtn":
        weights = weights * weights
    divisor = tf.math.unsorted_segment_sum(weights, segments, num_lists)
    if combiner == "sqrtn":
        divisor = tf.sqrt(divisor)
    return tf.math.divide_no_nan(sums, divisor[:, tf.newaxis])


def _lists(feature: FeatureBatch) -> tuple[tf.Tensor, tf.Tensor]:
    """The list of each flat id, int64 `[m]`, and how many lists there are."""
    if feature.splits is not None:
        lengths = feature.splits[1:] - feature.splits[:-1]
        num_lists = tf.size(lengths, tf.int64)
        return tf.repeat(tf.range(num_lists), lengths), num_lists
    shape = tf.shape(feature.ids, tf.int64)
    outer = _num_outer(feature.ids)
    num_lists = tf.reduce_prod(shape[:outer])
    length = tf.reduce_prod(shape[outer:])
    return tf.repeat(tf.range(num_lists), length), num_lists


def _num_outer(ids: tf.Tensor) -> int | tf.Tensor:
    """How many dimensions of dense ids number lists; of one alone that one."""
    if ids.shape.rank is not None:
        return max(1, ids.shape.rank - 1)
    return tf.maximum(1, tf.rank(ids) - 1)


def _number_in_list(flat, list_of_id, num_lists) -> tf.Tensor:
    """Which id of its list, of those that are asked for, each is."""
    ones = tf.cast(flat, tf.int64)
    before = tf.cumsum(ones, exclusive=True)
    sizes = tf.math.unsorted_segment_sum(ones, list_of_id, num_lists)
    first = tf.cumsum(sizes, exclusive=True)
    return before - tf.gather(first, list_of_id)


def _in_shape(combined: tf.Tensor, feature: FeatureBatch) -> tf.Tensor:
    """Gives combined vectors the leading shape of the ids."""
    ids = feature.ids
    inner = combined.shape[1:]
    if feature.splits is not None:
        num_lists = feature.splits.shape[0]
        static = None if num_lists is None else num_lists - 1
        return tf.ensure_shape(combined, [static] + inner)
    outer = _num_outer(ids)
    shape = tf.concat([tf.shape(ids)[:outer], inner], axis=0)
    static = tf.TensorShape(None)
    if ids.shape.rank is not None:
        static = ids.shape[:outer] + inner
    return tf.ensure_shape(tf.reshape(combined, shape), static)
