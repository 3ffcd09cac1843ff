"""The embedding layer of one feature."""

from __future__ import annotations

import tf_keras

from monolith_tf.checkpoint.keras_file import load_tables
from monolith_tf.checkpoint.keras_file import save_tables
from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras_common.feature_mask import mask_of
from monolith_tf.keras_common.serialization import describe_feature
from monolith_tf.keras_common.serialization import described_config
from monolith_tf.layers import tf_keras_adapter
from monolith_tf.table import Table


@tf_keras.saving.register_keras_serializable(package="monolith_tf")
class DynamicEmbedding(tf_keras.layers.Layer):
    """Reads one table: `tf.keras.layers.Embedding` without `input_dim`.

    Args:
        table: `mt.TableConfig` or `mt.Table`. Layers given the same object
            share the table.
        combiner: "sum", "mean", "sqrtn", "first_n" or None; see
            `mt.FeatureConfig` for this and the following arguments.
        padding_id: The id that fills up short examples, or None.
        max_sequence_length: Number of ids that "first_n" keeps.
        min_count: Occurrences that admit an id of this layer. Overrides the
            table's.
        default_id: The id of an example without ids, or None for zeros.
        ttl_seconds: Time to live of a row after an update through this layer.
            Overrides the table's.
        probability: Probability with which an occurrence admits an id of this
            layer. Replaces min_count.
        **kwargs: Arguments of every Keras layer (`name`, `trainable`, `dtype`).

    Call arguments:
        inputs: int64 (or int32) tensor `[batch, ...]`, `tf.RaggedTensor`, or
            `tf.SparseTensor` `[batch, length]`.
        weights: float32 of the same structure, or None. Each row is multiplied
            by its id's weight; "mean" divides by the sum of the weights,
            "sqrtn" by the root of the sum of their squares. A gradient of
            weights is refused.

    Output shape:
        Without a combiner the shape of the ids and `dim`. With one, the
        innermost dimension of the ids is combined
        (`[batch, ..., max_sequence_length, dim]` for "first_n"). float32, or
        the layer's compute dtype. Ragged ids without a combiner give ragged
        vectors, which most Keras layers reject ("last dimension ... Found
        None"): set a combiner, or make the ids dense with
        `ids.to_tensor(padding_id)`.

    Raises:
        TypeError: Ids or weights have another dtype.
        ValueError: The combiner is unknown, weights have another structure, or
            the table's admission does not support min_count.

    Example:
    >>> import numpy as np
    >>> import monolith_tf as mt
    >>> layer = mt.layers.DynamicEmbedding(mt.TableConfig("movie", dim=16))
    >>> layer(np.array([[5, -1, 2**40]])).shape
    TensorShape([1, 3, 16])
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
        self._reader = tf_keras_adapter.reader_for(
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
        tf_keras_adapter.refuse_keras_3(self, inputs)
        if weights is not None:
            weights = {"ids": weights}
        vectors = self._reader.read(
            {"ids": inputs}, weights, self.compute_dtype
        )
        return vectors["ids"]

    def compute_mask(self, inputs, mask=None):
        """Masks vectors without an id; see `mt.FeatureConfig`."""
        del mask
        return mask_of(self._feature, inputs)

    def get_config(self):
        """Returns the arguments of `from_config`."""
        return {
            **describe_feature(self._feature, tf_keras.saving),
            # The name of the layer replaces that of the feature.
            **super().get_config(),
        }

    @classmethod
    def from_config(cls, config):
        """Makes the layer that `get_config` described, with a new table."""
        table = described_config(config["table"], tf_keras.saving)
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
