"""Masks of symbolic ids, as operations in a graph of Keras 3."""

from __future__ import annotations

from monolith_tf.feature import FeatureConfig
from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.symbolic import is_symbolic
from monolith_tf.keras3.symbolic import traced
from monolith_tf.keras_common.feature_mask import mask_of
from monolith_tf.keras_common.serialization import describe_feature
from monolith_tf.keras_common.serialization import described_feature


def mask_for(feature: FeatureConfig, ids):
    """Does what `mask_of` does, for symbolic ids too."""
    rule = FeatureMask.of if is_symbolic(ids) else mask_of
    return rule(feature, ids)


@keras.saving.register_keras_serializable(package="monolith_tf")
class FeatureMask(keras.Operation):
    """Computes the mask of a feature: `mask_of` for a functional model.

    The layer that follows the vectors takes the mask as one of its inputs. So
    the mask is computed when the model runs, and saved with the model.

    Args:
        feature: The feature.
        name: Name of the operation.
    """

    def __init__(self, feature: FeatureConfig, name: str | None = None):
        """Keeps the feature."""
        super().__init__(name=name)
        self.feature = feature

    @classmethod
    def of(cls, feature: FeatureConfig, ids):
        """Makes the mask of a feature for symbolic ids; None if it has none.

        Args:
            feature: The feature.
            ids: `keras.KerasTensor`.
        """
        operation = cls(feature)
        if operation.compute_output_spec(ids) is None:
            return None
        return operation(ids)

    def call(self, ids):
        """Computes the mask of ids."""
        return mask_of(self.feature, ids)

    def compute_output_spec(self, ids):
        """Returns a `keras.KerasTensor` like the mask, or None."""
        return traced(self.call, ids)

    def get_config(self):
        """Returns the arguments of `from_config`."""
        return {
            "feature": describe_feature(self.feature, keras.saving),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """Makes the operation that `get_config` described."""
        feature = described_feature(config["feature"], keras.saving)
        return cls(feature, name=config["name"])
