"""Features and table configs as Keras writes them down.

`saving` is `tf_keras.saving` or `keras.saving`, in which `TableConfig` is
registered.
"""

from __future__ import annotations

import dataclasses

from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig


def describe_config(config: TableConfig, saving) -> dict:
    """Returns a config as Keras writes objects, so that sharing is kept."""
    description = saving.serialize_keras_object(config)
    # Keras marks only the second use, in a dict of which it wrote a copy.
    description["shared_object_id"] = id(config)
    return description


def described_config(description: dict, saving) -> TableConfig:
    """Makes the config that `describe_config` described.

    While Keras loads a model, layers that shared a config get one object.
    """
    return saving.deserialize_keras_object(description)


def describe_feature(feature: FeatureConfig, saving) -> dict:
    """Returns what `described_feature` makes an equal feature of."""
    description = {
        field.name: getattr(feature, field.name)
        for field in dataclasses.fields(feature)
    }
    return {**description, "table": describe_config(feature.config, saving)}


def described_feature(description: dict, saving) -> FeatureConfig:
    """Makes the feature that `describe_feature` described.

    A file of an earlier version lacks what it could not say.
    """
    table = described_config(description["table"], saving)
    return FeatureConfig(**{**description, "table": table})
