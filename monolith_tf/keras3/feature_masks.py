"""Masks of symbolic ids, as operations in a graph of Keras 3."""

from __future__ import annotations

from monolith_tf.feature import FeatureConfig
from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.symbolic import traced
from monolith_tf.keras_common.feature_mask import mask_of


@keras.saving.register_keras_serializable(package="monolith_tf")
class FeatureMask(keras.Operation):
    """Makes the mask of a feature: `mask_of` for a functional model.

    A layer behind the vectors has it among its inputs then, so that it is made
    when the model runs, and saved with the model.

    Args:
        combiner: Of the feature,
        n: and how many ids it keeps,
        padding_id: the id that fills up short examples,
        default_id: and the one that those without ids have.
        name: Of the operation.
    """

    def __init__(
        self, combiner=None, n=None, padding_id=None, default_id=None, name=None
    ):
        """Keeps what a mask depends on."""
        super().__init__(name=name)
        self.combiner = combiner
        self.n = n
        self.padding_id = padding_id
        self.default_id = default_id

    @classmethod
    def of(cls, feature: FeatureConfig, ids):
        """Makes the mask of a feature for symbolic ids, None if it has none.

        Args:
            feature: The feature.
            ids: `keras.KerasTensor`.
        """
        rule = cls(
            feature.combiner, feature.n, feature.padding_id, feature.default_id
        )
        if rule.compute_output_spec(ids) is None:
            return None
        return rule(ids)

    def call(self, ids):
        """Makes the mask of ids."""
        return mask_of(self, ids)

    def compute_output_spec(self, ids):
        """Returns a `keras.KerasTensor` like the mask, or None."""
        return traced(self.call, ids)

    def get_config(self):
        """Returns what `from_config` makes an equal operation of."""
        return {
            "combiner": self.combiner,
            "n": self.n,
            "padding_id": self.padding_id,
            "default_id": self.default_id,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """Makes the operation that `get_config` described."""
        return cls(**config)
