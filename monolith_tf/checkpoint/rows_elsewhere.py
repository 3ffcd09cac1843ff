"""Checkpoints of everything but rows: those live in files of a snapshot."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf.checkpoint.layout import check_layout
from monolith_tf.checkpoint.layout import named_layout
from monolith_tf.checkpoint.step_counter import step_counter
from monolith_tf.placement.table_handle import TableHandle

_is_open = contextvars.ContextVar("rows_elsewhere", default=False)


@contextlib.contextmanager
def rows_elsewhere() -> Iterator[None]:
    """Makes checkpoints that are written or read within leave out rows."""
    token = _is_open.set(True)
    try:
        yield
    finally:
        _is_open.reset(token)


def rows_are_elsewhere() -> bool:
    """Returns True within `rows_elsewhere`."""
    return _is_open.get()


def serialize(table: TableHandle) -> dict[str, tf.Tensor]:
    """Returns the tensors of a table in such a checkpoint."""
    with tf.device(table.table_set.devices[0]):
        return {
            "layout": tf.constant(named_layout(table)),
            "step": step_counter(table).read_value(),
        }


def restore(
    table: TableHandle, tensors: dict[str, tf.Tensor]
) -> tf.Operation | None:
    """Sets what `serialize` returned.

    Raises:
        CheckpointError: The rows are of another layout.
    """
    check_layout(table, tensors["layout"])
    with tf.device(table.table_set.devices[0]):
        return step_counter(table).assign(tensors["step"])
