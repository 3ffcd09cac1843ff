"""Says what to set where code needs Keras 2 under TensorFlow's own names."""

from __future__ import annotations

import os


def explain(error: Exception) -> None:
    """Raises in words of our own where `tf.compat.v1.layers` is not there.

    Args:
        error: What a model_fn raised.

    Raises:
        ImportError: `TF_USE_LEGACY_KERAS` is not set, and the error is of that.
    """
    text = str(error)
    if os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True"):
        return
    if "layers" not in text and "eras" not in text:
        return
    raise ImportError(
        "The model_fn uses a part of TensorFlow that is there with Keras 2 "
        "only, such as tf.compat.v1.layers. Set TF_USE_LEGACY_KERAS=1 in the "
        f"environment before TensorFlow is imported. TensorFlow says: {text}"
    ) from error
