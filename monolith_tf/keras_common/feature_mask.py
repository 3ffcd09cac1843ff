"""Which vectors of a feature stand for an id: the mask of a sequence."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.feature import FeatureConfig


def mask_of(feature: FeatureConfig, ids) -> tf.Tensor | None:
    """Masks the vectors that stand for no id.

    Args:
        feature: The feature.
        ids: int64 (or int32), the input of the feature.

    Returns:
        bool. Without a combiner, of the shape of dense ids: False for padding;
        None for ragged ids, where layers go by the rows, and when padding is
        not told or reads a default id. Of first_n, `[..., n]`: False behind the
        ids of an example; None for more than one ragged dimension. Else None:
        an example is one vector.
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
    return tf.range(feature.n) < number[..., tf.newaxis]


def _ones(feature: FeatureConfig, ids: tf.Tensor) -> tf.Tensor:
    """1 for an id, 0 for padding: int32 of the shape of the ids."""
    if feature.padding_id is None:
        return tf.ones_like(ids, tf.int32)
    return tf.cast(_is_id(feature, ids), tf.int32)


def _is_id(feature: FeatureConfig, ids: tf.Tensor) -> tf.Tensor:
    return tf.not_equal(
        tf.cast(ids, tf.int64), tf.constant(feature.padding_id, tf.int64)
    )
