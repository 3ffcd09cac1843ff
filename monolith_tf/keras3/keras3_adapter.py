"""The difference between a Keras 3 layer that reads tables and others."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.table_weight import TableWeight
from monolith_tf.keras_common.embedding_reader import EmbeddingReader

keras.saving.register_keras_serializable(package="monolith_tf")(TableConfig)


def reader_for(
    layer: keras.layers.Layer,
    features: Sequence[FeatureConfig],
    are_named: bool = True,
) -> EmbeddingReader:
    """Makes the tables of features, and makes the layer track them.

    Args:
        layer: The layer, after `Layer.__init__`. Its checkpoints get the rows
            of the tables, its weights the variables of the tables. It is built
            afterwards.
        features: The features that the layer reads.
        are_named: False if the user did not name the features.

    Raises:
        ValueError: A strategy is open, or a table lies on parameter servers.
    """
    if tf.distribute.has_strategy():
        raise ValueError(
            f"mt.keras3.{type(layer).__name__} can't be made under "
            f"{type(tf.distribute.get_strategy()).__name__}: tables are used "
            "with Keras 3 in one process only. Under a tf.distribute strategy "
            "build the model with tf_keras, mt.layers and "
            "mt.optimizers.with_tables."
        )
    # Autocast would cast float inputs to the dtype of the layer, and hide a
    # wrong dtype.
    layer.autocast = False
    # XLA does not compile table ops; "auto" is then False on GPUs also.
    layer.supports_jit = False
    reader = EmbeddingReader(layer.name, features, are_named)
    for table in reader.tables:
        if table.table_set.strategy is not None:
            raise ValueError(
                f"Table {table.name!r} lies on parameter servers, and layer "
                f"{layer.name!r} is one of Keras 3, which trains in one "
                "process only. Build the model with tf_keras and mt.layers."
            )
        # An edge in TensorFlow's checkpoints: Keras 3 leaves out what is in
        # lists.
        setattr(layer, f"table_{table.name}", table)
    layer._table_weights = [
        TableWeight.of(variable)
        for variable in reader.table_variables() + reader.override_variables()
    ]
    layer.built = True
    return reader


def refuse_tf_keras(layer: keras.layers.Layer, inputs) -> None:
    """Refuses to be part of a tf_keras model.

    Such a model does not see the variables of the layer and would never train
    its tables.

    Args:
        layer: The layer that is called.
        inputs: Its ids, or a dict of ids.

    Raises:
        TypeError: An input is symbolic in tf_keras, or a tf_keras layer calls.
    """
    calls = sys.modules.get("tf_keras.src.engine.base_layer_utils")
    values = inputs.values() if isinstance(inputs, dict) else [inputs]
    if any(
        type(value).__module__.split(".")[0] == "tf_keras" for value in values
    ) or (calls is not None and calls.call_context().in_call):
        raise TypeError(
            f"Layer {layer.name!r} is a Keras 3 layer and can't be part of a "
            f"tf_keras model. Use mt.layers.{type(layer).__name__} in it, or "
            "build the model with keras."
        )
