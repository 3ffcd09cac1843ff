"""The layer that reads all features of a model at once."""

from __future__ import annotations

import tf_keras

from monolith_tf.keras_common.embedding_collection import ManyFeatures
from monolith_tf.layers.tf_keras_layer import TfKerasLayer


@tf_keras.saving.register_keras_serializable(package="monolith_tf")
class EmbeddingCollection(ManyFeatures, TfKerasLayer):
    """Turns a dict of ids into a dict of vectors, all tables in one lookup.

    Args:
        features: `mt.FeatureConfig`s with different names. Features with the
            same config object (or equal configs) share a table.
        **kwargs: As of every Keras layer (`name`, `trainable`, `dtype`).

    Call arguments:
        inputs: Dict of feature name to ids, one entry a feature (others are
            refused): int64 (or int32) tensor `[batch, ...]`, `tf.RaggedTensor`,
            or `tf.SparseTensor` `[batch, length]`.
        weights: Dict of feature name to weights, for some of the features, or
            None: float32 of the structure of the ids. Each row is multiplied by
            its id's weight; "mean" divides by the sum of the weights, "sqrtn"
            by the root of the sum of their squares. A gradient of weights is
            refused.

    Output shape:
        Dict of feature name to float32 (the layer's compute dtype): with a
        combiner `[batch, ..., dim]`, the innermost dimension of the ids
        combined (`[batch, ..., n, dim]` for "first_n"); without one the shape
        of the ids and `dim`, ragged for ragged ids, which most Keras layers
        refuse: set a combiner, or make the ids dense with
        `ids.to_tensor(padding_id)`.

    Raises:
        TypeError: Ids or weights of another dtype, or features that are none.
        ValueError: Features of one name, two tables of one name with different
            configs, inputs that do not match the features, or weights that do
            not match the inputs.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> layer = mt.layers.EmbeddingCollection([
    ...     mt.FeatureConfig("movie_id", mt.TableConfig("movie", dim=16)),
    ...     mt.FeatureConfig("genres", mt.TableConfig("genre", dim=4),
    ...                combiner="mean", padding_id=0)])
    >>> vectors = layer({"movie_id": tf.constant([5, -1], tf.int64),
    ...                  "genres": tf.ragged.constant([[1, 2], []], tf.int64)})
    >>> vectors["movie_id"].shape, vectors["genres"].shape
    (TensorShape([2, 16]), TensorShape([2, 4]))
    """
