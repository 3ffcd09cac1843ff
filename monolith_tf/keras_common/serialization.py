"""Serialization of features and table configs, in either Keras.

`saving` is `tf_keras.saving` or `keras.saving`, in which `TableConfig` is
registered.
"""

from __future__ import annotations

import dataclasses

from monolith_tf.config.table_config import TableConfig
from monolith_tf.feature import FeatureConfig


def describe_config(config: TableConfig, saving) -> dict:
    """Serializes a config as a Keras object that several layers may share."""
    description = saving.serialize_keras_object(config)
    # Keras marks a shared object only at its second use, too late for the copy
    # of the first that it wrote.
    description["shared_object_id"] = id(config)
    return description


def described_config(description: dict, saving) -> TableConfig:
    """Deserializes the result of `describe_config`.

    While Keras loads a model, layers that shared a config get one object.
    """
    return saving.deserialize_keras_object(description)


def describe_feature(feature: FeatureConfig, saving) -> dict:
    """Serializes a feature; `described_feature` deserializes it."""
    description = {
        field.name: getattr(feature, field.name)
        for field in dataclasses.fields(feature)
    }
    return {**description, "table": describe_config(feature.config, saving)}


def described_feature(description: dict, saving) -> FeatureConfig:
    """Deserializes the result of `describe_feature`."""
    table = described_config(description["table"], saving)
    return FeatureConfig(**{**description, "table": table})
