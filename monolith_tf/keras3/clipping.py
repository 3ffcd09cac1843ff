"""Clips dense gradients and slices of rows together, as Keras 3 clips.

Keras does it by ops that make slices dense, and rows have no dense array.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def clip(
    gradients: Sequence,
    *,
    clipnorm: float | None = None,
    global_clipnorm: float | None = None,
    clipvalue: float | None = None,
) -> list:
    """Clips gradients; at most one of the three ways is given.

    Args:
        gradients: Tensors, `tf.IndexedSlices` or None. Slices count as they
            are, equal ids not summed, as those of a `keras.layers.Embedding`.
        clipnorm: The longest that each may be.
        global_clipnorm: The longest that all together may be.
        clipvalue: The largest absolute value of an element.

    Returns:
        As many gradients.

    Example:
    >>> slices = tf.IndexedSlices([[3.0]], tf.constant([7], tf.int64))
    >>> rows, weight = clip([slices, tf.constant([4.0])], global_clipnorm=1.0)
    >>> rows.values.numpy().round(3), weight.numpy().round(3)
    (array([[0.6]], dtype=float32), array([0.8], dtype=float32))
    """
    gradients = list(gradients)
    if clipnorm and clipnorm > 0:
        return _each(gradients, lambda g: tf.clip_by_norm(g, clipnorm))
    if global_clipnorm and global_clipnorm > 0:
        return tf.clip_by_global_norm(gradients, global_clipnorm)[0]
    if clipvalue and clipvalue > 0:
        return _each(
            gradients, lambda g: tf.clip_by_value(g, -clipvalue, clipvalue)
        )
    return gradients


def _each(gradients: list, change) -> list:
    return [None if g is None else change(g) for g in gradients]
