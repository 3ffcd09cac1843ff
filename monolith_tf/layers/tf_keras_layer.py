"""The base of the tf_keras layers that read tables."""

from __future__ import annotations

import sys

import tf_keras
from tensorflow.python.trackable.data_structures import NoDependency

from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras_common.embedding_reader import TableReader
from monolith_tf.keras_common.feature_mask import mask_of

tf_keras.saving.register_keras_serializable(package="monolith_tf")(TableConfig)


class TfKerasLayer(TableReader, tf_keras.layers.Layer):
    """Reads tables for some features; the base of the public layers."""

    _saving = tf_keras.saving

    def __init__(self, features: list[FeatureConfig], **kwargs):
        """Makes the tables, or finds those that are there."""
        super().__init__(**kwargs)
        # Keras would cast int64 inputs never, but float inputs to its own
        # dtype, and hide a wrong dtype so.
        self._autocast = False
        self._make_tables(features)
        self._anchors = self._anchors_of_tables()
        # Not in checkpoints: a model that was saved restores into one whose
        # features have other min_counts or ttls.
        self._own_anchors = NoDependency(self._anchors_of_own_terms())

    def compute_mask(self, inputs, mask=None):
        """Masks vectors that stand for no id; see `mt.FeatureConfig`."""
        del mask
        return self._masks(inputs, mask_of)

    def _refuse_other_keras(self, inputs: dict) -> None:
        state = sys.modules.get("keras.src.backend.common.global_state")
        if any(
            type(value).__module__.split(".")[0] == "keras"
            for value in inputs.values()
        ) or (
            state is not None
            and state.get_global_attribute("current_call_ctx") is not None
        ):
            raise TypeError(
                f"Layer {self.name!r} is a tf_keras layer and can't be part of "
                "a Keras 3 model. Use "
                f"mt.keras3.{type(self).__name__} and mt.keras3.with_tables in "
                "it; or build the model with tf_keras (import tf_keras), or "
                "set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported, "
                "which makes tf.keras the same."
            )
