"""What an `EmbeddingCollection` is, in either Keras."""

from __future__ import annotations

from collections.abc import Sequence

from monolith_tf.feature import FeatureConfig
from monolith_tf.keras_common.serialization import describe_feature
from monolith_tf.keras_common.serialization import described_feature


class ManyFeatures:
    """Mixed into a layer that reads tables, before it.

    The layer takes a list of features, and `_saving` is that of its Keras.
    """

    def __init__(self, features: Sequence[FeatureConfig], **kwargs):
        """Checks the features and makes their tables."""
        features = list(features)
        if not features:
            raise ValueError(
                "EmbeddingCollection needs at least one mt.FeatureConfig. "
                "Received: none."
            )
        for feature in features:
            if not isinstance(feature, FeatureConfig):
                raise TypeError(
                    "EmbeddingCollection needs mt.Features. Received: "
                    f"{feature!r} (of type {type(feature).__name__})."
                )
        names = [feature.name for feature in features]
        if len(set(names)) != len(names):
            raise ValueError(
                "The features of an EmbeddingCollection need different names. "
                f"Received: {names}."
            )
        super().__init__(features, **kwargs)

    @property
    def features(self) -> tuple[FeatureConfig, ...]:
        """The features, as they were given."""
        return self._feature_list

    def call(self, inputs, weights=None):
        """Reads and combines."""
        self._check_names(inputs)
        return self.read(inputs, weights)

    def get_config(self):
        """Returns what `from_config` makes an equal layer of."""
        config = super().get_config()
        config["features"] = [
            describe_feature(feature, self._saving)
            for feature in self._feature_list
        ]
        return config

    @classmethod
    def from_config(cls, config):
        """Makes the layer that `get_config` described, with new tables."""
        config = dict(config)
        config["features"] = [
            described_feature(feature, cls._saving)
            for feature in config["features"]
        ]
        return cls(**config)

    def _masks(self, inputs, mask_of) -> dict:
        self._check_names(inputs)
        return {
            feature.name: mask_of(feature, inputs[feature.name])
            for feature in self._feature_list
        }

    def _check_names(self, inputs) -> None:
        expected = sorted(feature.name for feature in self._feature_list)
        if not isinstance(inputs, dict):
            raise TypeError(
                f"Layer {self.name!r} needs a dict of feature name to ids, "
                f"with the keys {expected}. Received: {type(inputs).__name__}."
            )
        if sorted(inputs) != expected:
            raise ValueError(
                f"Layer {self.name!r} needs ids for exactly the features "
                f"{expected}. Received: {sorted(inputs)}."
            )
