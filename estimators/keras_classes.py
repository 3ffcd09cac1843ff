"""Restores the classes of Keras that a graph changes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tf_keras


@contextlib.contextmanager
def kept_keras_classes() -> Iterator[None]:
    """Restores the base classes of layers and models after the block.

    tf_keras replaces the base classes of a layer that is made in a graph, which
    changes all live layers of its class until one is made eagerly again: `fit`
    and `evaluate` of a live model would be those of graphs.
    """
    before = {kind: kind.__bases__ for kind in _subclasses(tf_keras.Model)}
    before.update(
        (kind, kind.__bases__) for kind in _subclasses(tf_keras.layers.Layer)
    )
    try:
        yield
    finally:
        for kind, bases in before.items():
            if kind.__bases__ != bases:
                kind.__bases__ = bases


def _subclasses(kind: type) -> Iterator[type]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
