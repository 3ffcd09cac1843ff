"""The difference between a tf_keras layer that reads tables and others."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tf_keras
from tensorflow.python.trackable.data_structures import NoDependency

from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras_common.embedding_reader import EmbeddingReader

tf_keras.saving.register_keras_serializable(package="monolith_tf")(TableConfig)


def reader_for(
    layer: tf_keras.layers.Layer,
    features: Sequence[FeatureConfig],
    are_named: bool = True,
) -> EmbeddingReader:
    """Makes the tables of features, and makes the layer track them.

    Args:
        layer: The layer, after `Layer.__init__`. Its checkpoints get the rows
            of the tables, its weights the variables of the tables.
        features: The features that the layer reads.
        are_named: False if the user did not name the features.
    """
    # Autocast would cast float inputs to the dtype of the layer, and hide a
    # wrong dtype. It never casts int64.
    layer._autocast = False
    reader = EmbeddingReader(layer.name, features, are_named)
    # The names of these attributes are edges in TensorFlow's checkpoints.
    layer._table_list = list(reader.tables)
    layer._anchors = reader.table_variables()
    # Not in checkpoints: a saved model restores into one whose features have
    # other overrides.
    layer._override_variables = NoDependency(reader.override_variables())
    return reader


def refuse_keras_3(layer: tf_keras.layers.Layer, inputs) -> None:
    """Refuses to be part of a Keras 3 model.

    Such a model does not see the variables of the layer and would never train
    its tables.

    Args:
        layer: The layer that is called.
        inputs: Its ids, or a dict of ids.

    Raises:
        TypeError: An input is symbolic in Keras 3, or a Keras 3 layer calls.
    """
    state = sys.modules.get("keras.src.backend.common.global_state")
    values = inputs.values() if isinstance(inputs, dict) else [inputs]
    if any(
        type(value).__module__.split(".")[0] == "keras" for value in values
    ) or (
        state is not None
        and state.get_global_attribute("current_call_ctx") is not None
    ):
        raise TypeError(
            f"Layer {layer.name!r} is a tf_keras layer and can't be part of a "
            f"Keras 3 model. Use mt.keras3.{type(layer).__name__} and "
            "mt.keras3.with_tables in it; or build the model with tf_keras "
            "(import tf_keras), or set TF_USE_LEGACY_KERAS=1 before TensorFlow "
            "is imported, which makes tf.keras the same."
        )
