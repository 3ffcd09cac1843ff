"""Says what to set where code needs Keras 2 under TensorFlow's own names."""

from __future__ import annotations

import os

import tensorflow as tf

_VARIABLE = "TF_USE_LEGACY_KERAS"
_WHAT_TO_DO = (
    f"Set {_VARIABLE}=1 in the environment before TensorFlow is imported"
)


def check() -> None:
    """Refuses to go on without `tf.compat.v1.layers`.

    Raises:
        ImportError: TensorFlow has no Keras 2 under its own names.
    """
    try:
        tf.compat.v1.layers.dense  # noqa: B018  Loaded when it is asked for.
    except (AttributeError, ImportError) as error:
        raise ImportError(
            "tf.compat.v1.layers is there with Keras 2 only, and "
            f"{_VARIABLE} was {os.environ.get(_VARIABLE)!r} when TensorFlow "
            f"loaded Keras. {_WHAT_TO_DO}, or use tf_keras.layers, which need "
            f"no variable. TensorFlow says: {error}"
        ) from error


def explain(error: Exception) -> None:
    """Raises in words of our own where `tf.compat.v1.layers` is not there.

    Args:
        error: What a model_fn raised.

    Raises:
        ImportError: `TF_USE_LEGACY_KERAS` is not set, and the error is of that.
    """
    text = str(error)
    if os.environ.get(_VARIABLE) in ("1", "true", "True"):
        return
    if "layers" not in text and "eras" not in text:
        return
    raise ImportError(
        "The model_fn uses a part of TensorFlow that is there with Keras 2 "
        f"only, such as tf.compat.v1.layers. {_WHAT_TO_DO}; "
        "`from monolith_tf.estimators import layers` checks that when the "
        f"program starts. TensorFlow says: {text}"
    ) from error
