"""An embedding without a number of ids."""

from __future__ import annotations

import tf_keras

from monolith_tf.keras_common.dynamic_embedding import OneFeature
from monolith_tf.layers.tf_keras_layer import TfKerasLayer


@tf_keras.saving.register_keras_serializable(package="monolith_tf")
class DynamicEmbedding(OneFeature, TfKerasLayer):
    """Reads one table: like tf.keras.layers.Embedding without `input_dim`.

    Args:
        table: `mt.TableConfig` or `mt.Table`. Layers given the same object
            share the table.
        combiner: "sum", "mean", "sqrtn", "first_n" or None, as of
            `mt.FeatureConfig`.
        padding_id: The id that fills up short examples, or None; see
            `mt.FeatureConfig`.
        n: How many ids "first_n" keeps.
        min_count: Occurrences that admit the ids of this layer; default is what
            the table says. See `mt.FeatureConfig`.
        default_id: The id that an example without ids has, or None for zeros;
            see `mt.FeatureConfig`.
        ttl_seconds: How long rows live after an update through this layer;
            default is what the table says. See `mt.FeatureConfig`.
        probability: In place of min_count: each occurrence admits an id of this
            layer with this probability. See `mt.FeatureConfig`.
        **kwargs: As of every Keras layer (`name`, `trainable`, `dtype`).

    Call arguments:
        inputs: int64 (or int32) tensor `[batch, ...]`, `tf.RaggedTensor`, or
            `tf.SparseTensor` `[batch, length]`.
        weights: float32 of the same structure, or None. Each row is multiplied
            by its id's weight; "mean" divides by the sum of the weights,
            "sqrtn" by the root of the sum of their squares. A gradient of
            weights is refused.

    Output shape:
        Without a combiner the shape of the ids and `dim`; with one the
        innermost dimension of the ids is combined (`[batch, ..., n, dim]` for
        "first_n"). float32, or the layer's
        compute dtype. Ragged ids without a combiner give ragged vectors, which
        most Keras layers refuse in words of their own ("last dimension ...
        Found None"): set a combiner, or make the ids dense with
        `ids.to_tensor(padding_id)`.

    Raises:
        TypeError: Ids or weights of another dtype.
        ValueError: A combiner that is none, weights of another structure, or a
            min_count that the table's admission can't keep.

    Example:
    >>> import numpy as np
    >>> import monolith_tf as mt
    >>> layer = mt.layers.DynamicEmbedding(mt.TableConfig("movie", dim=16))
    >>> layer(np.array([[5, -1, 2**40]])).shape
    TensorShape([1, 3, 16])
    """
