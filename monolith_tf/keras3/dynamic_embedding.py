"""The embedding layer of one feature, for Keras 3."""

from __future__ import annotations

from monolith_tf.checkpoint.keras_file import load_tables
from monolith_tf.checkpoint.keras_file import save_tables
from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras3 import keras3_adapter
from monolith_tf.keras3.feature_masks import mask_for
from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.symbolic import traced
from monolith_tf.keras_common.serialization import describe_feature
from monolith_tf.keras_common.serialization import described_config
from monolith_tf.table import Table


@keras.saving.register_keras_serializable(package="monolith_tf")
class DynamicEmbedding(keras.layers.Layer):
    """Reads one table in a Keras 3 model: `mt.layers.DynamicEmbedding`.

    Arguments, call arguments, output shape and errors are those of its twin for
    tf_keras, with two differences: `**kwargs` are those of
    `keras.layers.Layer`, and a `tf.distribute` strategy is refused.

    Raises:
        ValueError: A strategy is open, or the table lies on parameter servers;
            and as its twin.

    Example:
    >>> import keras
    >>> import monolith_tf as mt
    >>> model = keras.Sequential([
    ...     keras.Input([None], dtype="int64"),
    ...     mt.keras3.DynamicEmbedding(mt.TableConfig("movie", dim=16), "mean"),
    ...     keras.layers.Dense(1)])
    >>> model.compile(mt.keras3.with_tables("adam"), "mse")
    >>> model.output_shape
    (None, 1)
    """

    def __init__(
        self,
        table: TableConfig | Table,
        combiner: str | None = None,
        padding_id: int | None = None,
        max_sequence_length: int | None = None,
        min_count: int | None = None,
        default_id: int | None = None,
        ttl_seconds: int | None = None,
        probability: float | None = None,
        **kwargs,
    ):
        """Makes the table, or finds it."""
        super().__init__(**kwargs)
        self._feature = FeatureConfig(
            "ids",
            table,
            combiner=combiner,
            padding_id=padding_id,
            max_sequence_length=max_sequence_length,
            min_count=min_count,
            default_id=default_id,
            ttl_seconds=ttl_seconds,
            probability=probability,
        )
        self._reader = keras3_adapter.reader_for(
            self, [self._feature], are_named=False
        )

    @property
    def table(self) -> Table:
        """The table that the layer reads."""
        return self._reader.tables[0]

    @property
    def tables(self) -> list[Table]:
        """The table that the layer reads, in a list."""
        return list(self._reader.tables)

    def call(self, inputs, weights=None):
        """Reads the rows of ids and combines them."""
        keras3_adapter.refuse_tf_keras(self, inputs)
        if weights is not None:
            weights = {"ids": weights}
        vectors = self._reader.read(
            {"ids": inputs}, weights, self.compute_dtype
        )
        return vectors["ids"]

    def compute_output_spec(self, inputs, weights=None):
        """Returns `keras.KerasTensor`s like the vectors of `call`."""
        return traced(self.call, inputs, weights)

    def compute_mask(self, inputs, mask=None):
        """Masks vectors without an id; see `mt.FeatureConfig`."""
        del mask
        return mask_for(self._feature, inputs)

    def get_config(self):
        """Returns the arguments of `from_config`."""
        return {
            **describe_feature(self._feature, keras.saving),
            # The name of the layer replaces that of the feature.
            **super().get_config(),
        }

    @classmethod
    def from_config(cls, config):
        """Makes the layer that `get_config` described, with a new table."""
        table = described_config(config["table"], keras.saving)
        return cls(**{**config, "table": table})

    def save_own_variables(self, store):
        """Writes the rows with their slots into a .keras file."""
        save_tables(self._reader.tables, store)

    def load_own_variables(self, store):
        """Replaces the rows of the table by those of a .keras file.

        Raises:
            CheckpointError: A part is missing, or the rows have another layout;
                the table is unchanged.
        """
        load_tables(self._reader.tables, store)
