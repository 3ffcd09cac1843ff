"""The mask of the sequences that a feature gives."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.feature import FeatureConfig


def mask_of(feature: FeatureConfig, ids) -> tf.Tensor | None:
    """Masks the vectors without an id.

    Args:
        feature: The feature.
        ids: int64 (or int32), the input of the feature.

    Returns:
        bool, or None for no mask. Without a combiner: the shape of dense ids,
        False for padding; None for ragged ids, which have row lengths, and if
        there is no padding_id or padding reads a default id. For first_n:
        `[..., max_sequence_length]`, False behind the ids of an example; None
        for more than one ragged dimension. For other combiners None.
    """
    if feature.combiner == "first_n":
        return _mask_of_first_n(feature, ids)
    if feature.combiner is not None or feature.padding_id is None:
        return None
    if feature.default_id is not None:
        return None
    if isinstance(ids, (tf.RaggedTensor, tf.SparseTensor)):
        return None
    return _is_id(feature, ids)


def _mask_of_first_n(feature: FeatureConfig, ids) -> tf.Tensor | None:
    if isinstance(ids, tf.SparseTensor):
        number = tf.math.unsorted_segment_sum(
            _ones(feature, ids.values), ids.indices[:, 0], ids.dense_shape[0]
        )
    elif isinstance(ids, tf.RaggedTensor):
        if ids.ragged_rank > 1:
            return None
        number = tf.reduce_sum(
            ids.with_values(_ones(feature, ids.values)), axis=-1
        )
    else:
        number = _ones(feature, ids)
        if number.shape.rank != 1:
            number = tf.reduce_sum(number, axis=-1)
    if feature.default_id is not None:
        number = tf.maximum(number, 1)
    return tf.range(feature.max_sequence_length) < number[..., tf.newaxis]


def _ones(feature: FeatureConfig, ids: tf.Tensor) -> tf.Tensor:
    """1 for an id, 0 for padding: int32 of the shape of the ids."""
    if feature.padding_id is None:
        return tf.ones_like(ids, tf.int32)
    return tf.cast(_is_id(feature, ids), tf.int32)


def _is_id(feature: FeatureConfig, ids: tf.Tensor) -> tf.Tensor:
    return tf.not_equal(
        tf.cast(ids, tf.int64), tf.constant(feature.padding_id, tf.int64)
    )
