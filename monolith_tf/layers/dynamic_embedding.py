"""An embedding without a number of ids."""

from __future__ import annotations

import tf_keras

from monolith_tf.config import TableConfig
from monolith_tf.feature import Feature
from monolith_tf.layers.feature_mask import mask_of
from monolith_tf.layers.table_layer import TableLayer
from monolith_tf.layers.table_layer import describe_feature
from monolith_tf.layers.table_layer import described_config
from monolith_tf.table import Table


@tf_keras.saving.register_keras_serializable(package="monolith_tf")
class DynamicEmbedding(TableLayer):
    """Reads one table: like tf.keras.layers.Embedding without `input_dim`.

    Args:
        table: `mt.TableConfig` or `mt.Table`. Layers given the same object
            share the table.
        combiner: "sum", "mean", "sqrtn", "first_n" or None, as of `mt.Feature`.
        padding_id: The id that fills up short examples, or None; see
            `mt.Feature`.
        n: How many ids "first_n" keeps.
        min_count: Occurrences that admit the ids of this layer; default is what
            the table says. See `mt.Feature`.
        default_id: The id that an example without ids has, or None for zeros;
            see `mt.Feature`.
        ttl_seconds: How long rows live after an update through this layer;
            default is what the table says. See `mt.Feature`.
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

    def __init__(
        self,
        table: TableConfig | Table,
        combiner: str | None = None,
        padding_id: int | None = None,
        n: int | None = None,
        min_count: int | None = None,
        default_id: int | None = None,
        ttl_seconds: int | None = None,
        **kwargs,
    ):
        """Makes the table, or finds it."""
        feature = Feature(
            "ids",
            table,
            combiner,
            padding_id,
            n,
            min_count,
            default_id,
            ttl_seconds,
        )
        super().__init__([feature], **kwargs)
        self._feature = feature

    @property
    def table(self) -> Table:
        """The table that the layer reads."""
        return self._table_list[0]

    def call(self, inputs, weights=None):
        """Reads and combines."""
        if weights is not None:
            weights = {"ids": weights}
        return self.read({"ids": inputs}, weights)["ids"]

    def compute_mask(self, inputs, mask=None):
        """Masks vectors that stand for no id; see `mt.Feature`."""
        del mask
        return mask_of(self._feature, inputs)

    def get_config(self):
        """Returns what `from_config` makes an equal layer of."""
        config = super().get_config()
        config.update(describe_feature(self._feature))
        # The layer has a name of its own.
        config["name"] = self.name
        return config

    @classmethod
    def from_config(cls, config):
        """Makes the layer that `get_config` described, with a new table."""
        config = dict(config)
        config["table"] = described_config(config["table"])
        return cls(**config)
