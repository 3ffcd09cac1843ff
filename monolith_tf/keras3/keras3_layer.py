"""The base of the Keras 3 layers that read tables."""

from __future__ import annotations

import sys

import tensorflow as tf

from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras3.feature_masks import FeatureMask
from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.symbolic import is_symbolic
from monolith_tf.keras3.symbolic import traced
from monolith_tf.keras3.table_weight import TableWeight
from monolith_tf.keras_common.embedding_reader import TableReader
from monolith_tf.keras_common.feature_mask import mask_of

keras.saving.register_keras_serializable(package="monolith_tf")(TableConfig)


class SymbolicCall:
    """Mixed into a layer before it: symbolic calls trace the real one."""

    def compute_output_spec(self, inputs, *args, **kwargs):
        """Returns `keras.KerasTensor`s like what a call gives."""
        return traced(
            lambda values: self.call(values[0], *values[1], **values[2]),
            (inputs, args, kwargs),
        )


class Keras3Layer(SymbolicCall, TableReader, keras.layers.Layer):
    """Reads tables for some features; the base of the public layers."""

    _saving = keras.saving

    def __init__(self, features: list[FeatureConfig], **kwargs):
        """Makes the tables, or finds those that are there."""
        if tf.distribute.has_strategy():
            raise ValueError(
                f"mt.keras3.{type(self).__name__} can't be made under "
                f"{type(tf.distribute.get_strategy()).__name__}: tables are "
                "used with Keras 3 in one process only. Under a "
                "tf.distribute strategy build the model with tf_keras, "
                "mt.layers and mt.optimizers.with_tables."
            )
        super().__init__(**kwargs)
        # As in tf_keras: floats are not cast, so that they are refused.
        self.autocast = False
        # XLA compiles no table ops; "auto" is then False on GPUs also.
        self.supports_jit = False
        self._make_tables(features)
        for table in self._table_list:
            if table.table_set.strategy is not None:
                raise ValueError(
                    f"Table {table.name!r} lies on parameter servers, and "
                    f"layer {self.name!r} is one of Keras 3, which trains in "
                    "one process only. Build the model with tf_keras and "
                    "mt.layers."
                )
        self._table_weights = [
            TableWeight.of(anchor)
            for anchor in self._anchors_of_tables()
            + self._anchors_of_own_terms()
        ]
        self.built = True

    def compute_mask(self, inputs, mask=None):
        """Masks vectors that stand for no id; see `mt.FeatureConfig`."""
        del mask
        if is_symbolic(inputs):
            return self._masks(inputs, FeatureMask.of)
        return self._masks(inputs, mask_of)

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        # Keras 3 keeps what is in lists from TensorFlow's checkpoints.
        children = super()._trackable_children(save_type, **kwargs)
        return {
            **children,
            **{f"table_{table.name}": table for table in self._table_list},
        }

    def _refuse_other_keras(self, inputs: dict) -> None:
        calls = sys.modules.get("tf_keras.src.engine.base_layer_utils")
        if any(
            type(value).__module__.split(".")[0] == "tf_keras"
            for value in inputs.values()
        ) or (calls is not None and calls.call_context().in_call):
            raise TypeError(
                f"Layer {self.name!r} is a Keras 3 layer and can't be part of "
                f"a tf_keras model. Use mt.layers.{type(self).__name__} in it, "
                "or build the model with keras."
            )
