"""Checks for Keras 2 under TensorFlow's own names."""

from __future__ import annotations

import os

import tensorflow as tf

_VARIABLE = "TF_USE_LEGACY_KERAS"
_WHAT_TO_DO = (
    f"Set {_VARIABLE}=1 in the environment before TensorFlow is imported"
)


def check() -> None:
    """Checks that `tf.compat.v1.layers` exists.

    Raises:
        ImportError: TensorFlow has no Keras 2 under its own names.
    """
    try:
        tf.compat.v1.layers.dense  # noqa: B018  Loaded on access.
    except (AttributeError, ImportError) as error:
        raise ImportError(
            f"tf.compat.v1.layers needs Keras 2. Received: {_VARIABLE}="
            f"{os.environ.get(_VARIABLE)!r} when TensorFlow loaded Keras. "
            f"{_WHAT_TO_DO}, or use tf_keras.layers, which need no variable. "
            f"TensorFlow's error: {error}"
        ) from error


def explain(error: Exception) -> None:
    """Raises a clear error if `tf.compat.v1.layers` does not exist.

    Args:
        error: Error of a model_fn.

    Raises:
        ImportError: `TF_USE_LEGACY_KERAS` is not set, and caused the error.
    """
    text = str(error)
    if os.environ.get(_VARIABLE) in ("1", "true", "True"):
        return
    if "layers" not in text and "eras" not in text:
        return
    raise ImportError(
        "The model_fn uses a part of TensorFlow that needs Keras 2, such as "
        f"tf.compat.v1.layers. {_WHAT_TO_DO}; "
        "`from monolith_tf.estimators import layers` checks that when the "
        f"program starts. TensorFlow's error: {text}"
    ) from error
