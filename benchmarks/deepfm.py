"""DeepFM models that differ only in their embedding, for Keras benchmarks.

The model reads `features` ids an example: rows of `dim` floats, the first of
which is the weight of the id, the others its factors. All train by Adagrad.

    collection   mt.layers.EmbeddingCollection, an input and a table a feature
    monolith     mt.layers.DynamicEmbedding, all features in one table
    static       tf_keras.layers.Embedding, all features in one variable; the
                 ids are row numbers
    tfra         TFRA's BasicEmbedding, all features in one table
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import common
import numpy as np
import tensorflow as tf
import tf_keras

import monolith_tf as mt

LEARNING_RATE = 0.01
# int64 [batch, features], [features, batch], [batch, features].
STACKED, BY_FEATURE, ROW_NUMBERS = "stacked", "by-feature", "row-numbers"


@dataclasses.dataclass(frozen=True)
class DeepFM:
    """Size and construction of the model.

    Attributes:
        features: Ids an example.
        ids: Different ids of a feature.
        dim: Floats of a row.
        hidden: Units of the deep part.
        steps_per_execution: Of `compile`.
        wire_dtype: Of the table sets.
        staleness: Of `mt.pipelined`, for this library; None without it.
        devices: Where TFRA puts its table, one part each.
    """

    features: int
    ids: int
    dim: int
    hidden: tuple[int, ...]
    steps_per_execution: int = 1
    wire_dtype: str = "float32"
    staleness: int | None = None
    devices: Sequence[str] = ("CPU:0",)

    def make(self, peer: str) -> tf_keras.Model:
        """Makes the compiled model of a peer.

        Args:
            peer: One of `PEERS`.

        Raises:
            ImportError: TFRA is not installed.
            tf.errors.NotFoundError: TFRA is not for this TensorFlow.
        """
        model = PEERS[peer](self)
        if self.staleness is not None and peer in ("collection", "monolith"):
            mt.pipelined(model, self.staleness)
        return model

    def collection(self) -> tf_keras.Model:
        """One input and one table per feature."""
        names = self.feature_names
        with mt.TableSet(wire_dtype=self.wire_dtype):
            layer = mt.layers.EmbeddingCollection(
                [mt.FeatureConfig(name, self._table(name)) for name in names]
            )
        inputs = {
            name: tf_keras.Input([], dtype="int64", name=name) for name in names
        }
        vectors = layer(inputs)
        rows = [vectors[name] for name in names]
        return self._behind(
            inputs,
            tf.concat(rows, axis=1) if len(rows) > 1 else rows[0],
            mt.optimizers.with_tables(_adagrad()),
        )

    def monolith(self) -> tf_keras.Model:
        """All features in one table."""
        with mt.TableSet(wire_dtype=self.wire_dtype):
            embedding = mt.layers.DynamicEmbedding(self._table("ids"))
        return self._stacked(embedding, mt.optimizers.with_tables(_adagrad()))

    def static(self) -> tf_keras.Model:
        """All features in one variable."""
        return self._stacked(
            tf_keras.layers.Embedding(self.features * self.ids, self.dim),
            _adagrad(),
        )

    def tfra(self) -> tf_keras.Model:
        """All features in one TFRA table."""
        import tensorflow_recommenders_addons as addons

        de = addons.dynamic_embedding
        embedding = de.keras.layers.embedding.BasicEmbedding(
            self.dim,
            key_dtype=tf.int64,
            value_dtype=tf.float32,
            initializer=tf_keras.initializers.RandomUniform(-0.05, 0.05),
            init_capacity=self.features * self.ids,
            devices=list(self.devices),
            name="deepfm",
        )
        # Slots of its new-style optimizers start at 0.
        return self._stacked(
            embedding,
            de.DynamicEmbeddingOptimizer(
                tf_keras.optimizers.legacy.Adagrad(LEARNING_RATE)
            ),
        )

    @property
    def feature_names(self) -> list[str]:
        """Inputs of `collection`, in the order of the features."""
        return [f"feature_{number:02}" for number in range(self.features)]

    def ids_for(self, peer: str, numbers: np.ndarray) -> np.ndarray:
        """Returns the ids that a peer reads.

        Args:
            peer: Its name.
            numbers: int64 `[..., features]`, ids of each feature counted from
                0.
        """
        rows = numbers + np.arange(self.features) * self.ids
        return rows if peer == "static" else common.spread(rows)

    def layouts(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the ids of all batches in each layout.

        Args:
            numbers: int64 `[batches, batch, features]`, as of `ids_for`.
        """
        ids = self.ids_for("monolith", numbers)
        return {
            STACKED: ids,
            BY_FEATURE: ids.transpose(0, 2, 1),
            ROW_NUMBERS: self.ids_for("static", numbers),
        }

    def _table(self, name: str) -> mt.TableConfig:
        return mt.TableConfig(
            name,
            dim=self.dim,
            optimizer=mt.optimizers.Adagrad(LEARNING_RATE),
            initializer=mt.initializers.RandomUniform(-0.05, 0.05),
        )

    def _stacked(self, embedding, optimizer) -> tf_keras.Model:
        """A model with one input for all ids of an example."""
        ids = tf_keras.Input([self.features], dtype="int64", name="ids")
        rows = tf_keras.layers.Reshape([self.features * self.dim])(
            embedding(ids)
        )
        return self._behind(ids, rows, optimizer)

    def _behind(self, inputs, rows: tf.Tensor, optimizer) -> tf_keras.Model:
        """The dense model on top of rows `[batch, features * dim]`."""
        by_feature = tf.reshape(rows, [-1, self.features, self.dim])
        first_order = tf.reduce_sum(by_feature[:, :, 0], axis=1, keepdims=True)
        total = tf.reduce_sum(by_feature, axis=1)
        squares = tf.reduce_sum(tf.square(by_feature), axis=1)
        pairs = 0.5 * tf.reduce_sum(
            (tf.square(total) - squares)[:, 1:], axis=1, keepdims=True
        )
        hidden = rows
        for units in self.hidden:
            hidden = tf_keras.layers.Dense(units, "relu")(hidden)
        logits = tf_keras.layers.Dense(1)(hidden) + first_order + pairs
        model = tf_keras.Model(inputs, logits)
        model.compile(
            optimizer,
            tf_keras.losses.BinaryCrossentropy(from_logits=True),
            steps_per_execution=self.steps_per_execution,
        )
        return model


def layout_of(peer: str) -> str:
    """Returns which of `DeepFM.layouts` a peer reads."""
    return {"collection": BY_FEATURE, "static": ROW_NUMBERS}.get(peer, STACKED)


PEERS = {
    "collection": DeepFM.collection,
    "monolith": DeepFM.monolith,
    "static": DeepFM.static,
    "tfra": DeepFM.tfra,
}


def _adagrad():
    return tf_keras.optimizers.Adagrad(LEARNING_RATE)
