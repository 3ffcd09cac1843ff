"""Distinguishes Keras 3 from tf_keras without loading either."""

from __future__ import annotations


def is_keras_3(thing) -> bool:
    """Returns True if an object or a class comes from the package `keras`.

    `keras` is Keras 3 wherever this library runs: with TensorFlow 2.16 and
    newer, Keras 2 is the package `tf_keras`.
    """
    kind = thing if isinstance(thing, type) else type(thing)
    return any(
        base.__module__.partition(".")[0] == "keras" for base in kind.__mro__
    )
