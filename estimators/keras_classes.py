"""Keeps what a graph does to the classes of Keras from outliving the graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tf_keras


@contextlib.contextmanager
def kept_keras_classes() -> Iterator[None]:
    """Puts base classes of layers and models back at the end of the block.

    A tf_keras layer that is made in a graph gets other base classes, and with
    it all layers of its class that there are, until one is made eagerly again:
    `fit` and `evaluate` of a live model would be those of graphs.
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
