"""The embedding layer of all features of a model."""

from __future__ import annotations

from collections.abc import Sequence

import tf_keras

from monolith_tf.checkpoint.keras_file import load_tables
from monolith_tf.checkpoint.keras_file import save_tables
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras_common.feature_mask import mask_of
from monolith_tf.keras_common.serialization import describe_feature
from monolith_tf.keras_common.serialization import described_feature
from monolith_tf.layers import tf_keras_adapter
from monolith_tf.table import Table


@tf_keras.saving.register_keras_serializable(package="monolith_tf")
class EmbeddingCollection(tf_keras.layers.Layer):
    """Reads and pools many features, unlike TorchRec's class of that name.

    Turns a dict of ids into a dict of vectors, all tables in one lookup. Each
    feature is pooled by its `combiner`, as by TorchRec's
    `EmbeddingBagCollection`; a feature without a combiner keeps one vector per
    id.

    Args:
        features: `mt.FeatureConfig`s with different names. Features with the
            same config object (or equal configs) share a table.
        **kwargs: Arguments of every Keras layer (`name`, `trainable`, `dtype`).

    Call arguments:
        inputs: Dict of feature name to ids, one entry per feature (others are
            refused): int64 (or int32) tensor `[batch, ...]`, `tf.RaggedTensor`,
            or `tf.SparseTensor` `[batch, length]`.
        weights: Dict of feature name to weights, for some of the features, or
            None: float32 of the structure of the ids. Each row is multiplied by
            its id's weight; "mean" divides by the sum of the weights, "sqrtn"
            by the root of the sum of their squares. A gradient of weights is
            refused.

    Output shape:
        Dict of feature name to float32 (the layer's compute dtype). With a
        combiner `[batch, ..., dim]`: the innermost dimension of the ids is
        combined (`[batch, ..., max_sequence_length, dim]` for "first_n").
        Without one the shape of the ids and `dim`, ragged for ragged ids, which
        most Keras layers reject: set a combiner, or make the ids dense with
        `ids.to_tensor(padding_id)`.

    Raises:
        TypeError: Ids or weights have another dtype, or a feature is not an
            `mt.FeatureConfig`.
        ValueError: Features have one name, two tables of one name have
            different configs, inputs do not match the features, or weights do
            not match the inputs.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> layer = mt.layers.EmbeddingCollection([
    ...     mt.FeatureConfig("movie_id", mt.TableConfig("movie", dim=16)),
    ...     mt.FeatureConfig("genres", mt.TableConfig("genre", dim=4),
    ...                      combiner="mean", padding_id=0)])
    >>> vectors = layer({"movie_id": tf.constant([5, -1], tf.int64),
    ...                  "genres": tf.ragged.constant([[1, 2], []], tf.int64)})
    >>> vectors["movie_id"].shape, vectors["genres"].shape
    (TensorShape([2, 16]), TensorShape([2, 4]))
    """

    def __init__(self, features: Sequence[FeatureConfig], **kwargs):
        """Makes the tables, or finds those that exist."""
        super().__init__(**kwargs)
        self._reader = tf_keras_adapter.reader_for(self, features)

    @property
    def features(self) -> tuple[FeatureConfig, ...]:
        """The features, in the order of `__init__`."""
        return self._reader.features

    @property
    def tables(self) -> list[Table]:
        """The distinct tables that the layer reads, ordered by name."""
        return list(self._reader.tables)

    def call(self, inputs, weights=None):
        """Reads the rows of all features and combines them."""
        tf_keras_adapter.refuse_keras_3(self, inputs)
        self._reader.check_names(inputs)
        return self._reader.read(inputs, weights, self.compute_dtype)

    def compute_mask(self, inputs, mask=None):
        """Masks vectors without an id; see `mt.FeatureConfig`."""
        del mask
        self._reader.check_names(inputs)
        return {
            feature.name: mask_of(feature, inputs[feature.name])
            for feature in self.features
        }

    def get_config(self):
        """Returns the arguments of `from_config`."""
        features = [
            describe_feature(feature, tf_keras.saving)
            for feature in self.features
        ]
        return {**super().get_config(), "features": features}

    @classmethod
    def from_config(cls, config):
        """Makes the layer that `get_config` described, with new tables."""
        features = [
            described_feature(feature, tf_keras.saving)
            for feature in config["features"]
        ]
        return cls(**{**config, "features": features})

    def save_own_variables(self, store):
        """Writes the rows with their slots into a .keras file."""
        save_tables(self._reader.tables, store)

    def load_own_variables(self, store):
        """Replaces the rows of the tables by those of a .keras file.

        Raises:
            CheckpointError: A part is missing, or the rows have another layout;
                no table changed.
        """
        load_tables(self._reader.tables, store)
