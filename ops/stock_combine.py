"""The ops on features, in stock TensorFlow ops.

Exports contain no op of this library, and second derivatives need ops whose
gradients TensorFlow knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.ops.feature_ops import FeatureBatch


def valid_ids(feature: FeatureBatch) -> tf.Tensor | None:
    """Marks the ids that a lookup reads.

    Returns:
        bool of the shape of the ids, False for padding and for the ids that
        first_n cuts off; or None if the lookup reads all.
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
    kept = flat & (number < feature.max_sequence_length)
    return tf.reshape(kept, tf.shape(feature.ids))


def stock_combine(
    rows: tf.Tensor, valid: tf.Tensor | None, feature: FeatureBatch
) -> tf.Tensor:
    """Makes a feature's vectors from the rows of its ids.

    Args:
        rows: float32 `[m, dim]`, of the ids that `valid` marks, in order.
        valid: bool of the shape of the ids, as of `valid_ids`, or None.
        feature: The feature.

    Returns:
        float32, with the shape and the values of `combine`.
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
            [num_lists, feature.max_sequence_length, dim],
        )
    else:
        combined = _divided_sums(
            rows, weights, list_of_row, num_lists, feature.combiner
        )
    return _in_shape(combined, feature)


def stock_fill_missing(features: Sequence[FeatureBatch]) -> list[FeatureBatch]:
    """Does the work of `fill_missing`."""
    return [
        feature if feature.default_id is None else _filled(feature)
        for feature in features
    ]


def stock_sparse_splits(values: Sequence[tf.SparseTensor]) -> list[tf.Tensor]:
    """Does the work of `sparse_splits` without checking the order."""
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
    """Does the work of `checked_weights`."""
    check = tf.debugging.assert_equal(
        places,
        expected,
        message="weights must stand where ids stand: row splits (of sparse "
        "tensors the indices) of the ids and of the weights differ.",
    )
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(weights)


def _filled(feature: FeatureBatch) -> FeatureBatch:
    ids = feature.ids
    default_id = tf.constant(feature.default_id, tf.int64)
    if feature.combiner is None or (
        feature.splits is None and ids.shape.rank == 1
    ):
        # Each id is a list.
        if feature.padding_id is None:
            return feature
        is_missing = ids == tf.constant(feature.padding_id, tf.int64)
        return _replaced(feature, is_missing, default_id)
    if feature.splits is not None:
        feature = _without_empty_lists(feature, default_id)
    elif ids.shape.rank is None or not ids.shape[-1]:
        feature = _with_length(feature, default_id)
    if feature.padding_id is None:
        return feature
    is_id = tf.not_equal(feature.ids, tf.constant(feature.padding_id, tf.int64))
    list_of_id, num_lists = _lists(feature)
    number = tf.math.unsorted_segment_sum(
        tf.cast(tf.reshape(is_id, [-1]), tf.int64), list_of_id, num_lists
    )
    is_first = tf.concat(
        [list_of_id[:1] >= 0, list_of_id[1:] != list_of_id[:-1]], axis=0
    )
    is_missing = is_first & (tf.gather(number, list_of_id) == 0)
    return _replaced(
        feature, tf.reshape(is_missing, tf.shape(feature.ids)), default_id
    )


def _replaced(feature, is_missing, default_id) -> FeatureBatch:
    weights = feature.weights
    if weights is not None:
        weights = tf.where(is_missing, tf.ones([]), weights)
    ids = tf.where(is_missing, default_id, feature.ids)
    return dataclasses.replace(feature, ids=ids, weights=weights)


def _without_empty_lists(feature, default_id) -> FeatureBatch:
    """Puts the default id into lists of row splits without elements."""
    lengths = feature.splits[1:] - feature.splits[:-1]
    is_empty = tf.cast(lengths == 0, tf.int64)
    list_of_id, _ = _lists(feature)
    places = tf.range(tf.size(list_of_id, tf.int64)) + tf.gather(
        tf.cumsum(is_empty), list_of_id
    )
    total = tf.size(list_of_id, tf.int64) + tf.reduce_sum(is_empty)

    def spread(values, default):
        return tf.tensor_scatter_nd_update(
            tf.fill([total], default), places[:, tf.newaxis], values
        )

    splits = tf.concat([[0], tf.cumsum(lengths + is_empty)], axis=0)
    weights = feature.weights
    return dataclasses.replace(
        feature,
        ids=spread(feature.ids, default_id),
        splits=tf.ensure_shape(splits, feature.splits.shape),
        weights=None if weights is None else spread(weights, tf.ones([])),
    )


def _with_length(feature, default_id) -> FeatureBatch:
    """Gives dense lists of length 0 the length 1; others are unchanged."""
    rank = tf.rank(feature.ids)
    # A batch of single ids may have none.
    is_empty = (rank > 1) & (tf.shape(feature.ids)[-1] == 0)
    is_empty = tf.cast(is_empty, tf.int32)
    paddings = tf.scatter_nd([[rank - 1, 1]], [is_empty], [rank, 2])

    def padded(values, default):
        found = tf.pad(values, paddings, constant_values=default)
        return tf.ensure_shape(found, values.shape[:-1] + [None])

    weights = feature.weights
    return dataclasses.replace(
        feature,
        ids=padded(feature.ids, default_id),
        weights=None if weights is None else padded(weights, tf.ones([])),
    )


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
    """The list of each flat id, int64 `[m]`, and the number of lists."""
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
    """The number of dimensions of dense ids that number lists, at least 1."""
    if ids.shape.rank is not None:
        return max(1, ids.shape.rank - 1)
    return tf.maximum(1, tf.rank(ids) - 1)


def _number_in_list(flat, list_of_id, num_lists) -> tf.Tensor:
    """The index of each id among the valid ids of its list."""
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
