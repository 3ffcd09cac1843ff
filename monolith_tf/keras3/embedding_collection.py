"""The embedding layer of all features of a model, for Keras 3."""

from __future__ import annotations

from collections.abc import Sequence

from monolith_tf.checkpoint.keras_file import load_tables
from monolith_tf.checkpoint.keras_file import save_tables
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras3 import keras3_adapter
from monolith_tf.keras3.feature_masks import mask_for
from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.symbolic import traced
from monolith_tf.keras_common.serialization import describe_feature
from monolith_tf.keras_common.serialization import described_feature
from monolith_tf.table import Table


@keras.saving.register_keras_serializable(package="monolith_tf")
class EmbeddingCollection(keras.layers.Layer):
    """Reads and pools many features, unlike TorchRec's class of that name.

    The twin of `mt.layers.EmbeddingCollection` for Keras 3. Arguments, call
    arguments, output shape and errors are the same, with two differences:
    `**kwargs` are those of `keras.layers.Layer`, and a `tf.distribute` strategy
    is refused.

    Raises:
        ValueError: A strategy is open, or a table lies on parameter servers;
            and as its twin.

    Example:
    >>> import keras
    >>> import monolith_tf as mt
    >>> layer = mt.keras3.EmbeddingCollection([
    ...     mt.FeatureConfig("movie_id", mt.TableConfig("movie", dim=16)),
    ...     mt.FeatureConfig("genres", mt.TableConfig("genre", dim=4),
    ...                      combiner="mean", padding_id=0)])
    >>> vectors = layer({
    ...     "movie_id": keras.Input([], dtype="int64"),
    ...     "genres": keras.Input([None], dtype="int64")})
    >>> vectors["movie_id"].shape, vectors["genres"].shape
    ((None, 16), (None, 4))
    """

    def __init__(self, features: Sequence[FeatureConfig], **kwargs):
        """Makes the tables, or finds those that exist."""
        super().__init__(**kwargs)
        self._reader = keras3_adapter.reader_for(self, features)

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
        keras3_adapter.refuse_tf_keras(self, inputs)
        self._reader.check_names(inputs)
        return self._reader.read(inputs, weights, self.compute_dtype)

    def compute_output_spec(self, inputs, weights=None):
        """Returns `keras.KerasTensor`s like the vectors of `call`."""
        return traced(self.call, inputs, weights)

    def compute_mask(self, inputs, mask=None):
        """Masks vectors without an id; see `mt.FeatureConfig`."""
        del mask
        self._reader.check_names(inputs)
        return {
            feature.name: mask_for(feature, inputs[feature.name])
            for feature in self.features
        }

    def get_config(self):
        """Returns the arguments of `from_config`."""
        features = [
            describe_feature(feature, keras.saving) for feature in self.features
        ]
        return {**super().get_config(), "features": features}

    @classmethod
    def from_config(cls, config):
        """Makes the layer that `get_config` described, with new tables."""
        features = [
            described_feature(feature, keras.saving)
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
