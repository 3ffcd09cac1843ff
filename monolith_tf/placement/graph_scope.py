"""The TensorFlow 1 graph that is being built, and the servers of its tables."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from collections.abc import Sequence

import tensorflow as tf
from tensorflow.python.eager import context

# The collection of a graph's table sets. Not a string: TensorFlow writes
# collections with string keys into its meta graphs.
TABLE_SETS = ("monolith_tf", "table_sets")

_servers: contextvars.ContextVar[tuple[str, ...] | None] = (
    contextvars.ContextVar("monolith_tf_graph_servers", default=None)
)


def building_graph() -> tf.Graph | None:
    """Returns the graph of `tf.Graph().as_default()`, or None."""
    with tf.init_scope():
        if context.executing_eagerly():
            return None
        return tf.compat.v1.get_default_graph()


@contextlib.contextmanager
def graph_servers(devices: Sequence[str]) -> Iterator[None]:
    """Places the tables of a graph on parameter servers.

    Args:
        devices: One per server, such as "/job:ps/task:0/device:CPU:0".
    """
    token = _servers.set(tuple(devices))
    try:
        yield
    finally:
        _servers.reset(token)


def server_devices() -> tuple[str, ...] | None:
    """Returns the servers of the open `graph_servers`, or None."""
    return _servers.get()
