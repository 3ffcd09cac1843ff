"""The layer that reads all features of a model at once."""

from __future__ import annotations

from collections.abc import Sequence

import tf_keras

from monolith_tf.feature import Feature
from monolith_tf.layers.feature_mask import mask_of
from monolith_tf.layers.table_layer import TableLayer
from monolith_tf.layers.table_layer import describe_feature
from monolith_tf.layers.table_layer import described_feature


@tf_keras.saving.register_keras_serializable(package="monolith_tf")
class EmbeddingCollection(TableLayer):
    """Turns a dict of ids into a dict of vectors, all tables in one lookup.

    Args:
        features: `mt.Feature`s with different names. Features with the same
            config object (or equal configs) share a table.
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
    ...     mt.Feature("movie_id", mt.TableConfig("movie", dim=16)),
    ...     mt.Feature("genres", mt.TableConfig("genre", dim=4),
    ...                combiner="mean", padding_id=0)])
    >>> vectors = layer({"movie_id": tf.constant([5, -1], tf.int64),
    ...                  "genres": tf.ragged.constant([[1, 2], []], tf.int64)})
    >>> vectors["movie_id"].shape, vectors["genres"].shape
    (TensorShape([2, 16]), TensorShape([2, 4]))
    """

    def __init__(self, features: Sequence[Feature], **kwargs):
        """Checks the features and makes their tables."""
        features = list(features)
        if not features:
            raise ValueError(
                "EmbeddingCollection needs at least one mt.Feature. Received: "
                "none."
            )
        for feature in features:
            if not isinstance(feature, Feature):
                raise TypeError(
                    "EmbeddingCollection needs mt.Features. Received: "
                    f"{feature!r} (of type {type(feature).__name__})."
                )
        names = [feature.name for feature in features]
        if len(set(names)) != len(names):
            raise ValueError(
                "The features of an EmbeddingCollection need different names. "
                f"Received: {names}."
            )
        super().__init__(features, **kwargs)

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features, as they were given."""
        return self._feature_list

    def call(self, inputs, weights=None):
        """Reads and combines."""
        self._check_names(inputs)
        return self.read(inputs, weights)

    def compute_mask(self, inputs, mask=None):
        """Masks vectors that stand for no id, per feature; or None."""
        del mask
        self._check_names(inputs)
        return {
            feature.name: mask_of(feature, inputs[feature.name])
            for feature in self._feature_list
        }

    def get_config(self):
        """Returns what `from_config` makes an equal layer of."""
        config = super().get_config()
        config["features"] = [
            describe_feature(feature) for feature in self._feature_list
        ]
        return config

    @classmethod
    def from_config(cls, config):
        """Makes the layer that `get_config` described, with new tables."""
        config = dict(config)
        config["features"] = [
            described_feature(feature) for feature in config["features"]
        ]
        return cls(**config)

    def _check_names(self, inputs) -> None:
        expected = sorted(feature.name for feature in self._feature_list)
        if not isinstance(inputs, dict):
            raise TypeError(
                f"Layer {self.name!r} needs a dict of feature name to ids, "
                f"with the keys {expected}. Received: {type(inputs).__name__}."
            )
        if sorted(inputs) != expected:
            raise ValueError(
                f"Layer {self.name!r} needs ids for exactly the features "
                f"{expected}. Received: {sorted(inputs)}."
            )
