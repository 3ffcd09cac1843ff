"""Keras callbacks."""

from monolith_tf.callbacks.delta_push import DeltaPush

__all__ = ["DeltaPush"]
