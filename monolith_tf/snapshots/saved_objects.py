"""The objects of a snapshot: dense variables, tables, and their servers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.checkpoint import graph_view

from monolith_tf import ops
from monolith_tf.checkpoint.rows_elsewhere import rows_elsewhere
from monolith_tf.checkpoint.traced_checkpoint import TracedCheckpoint
from monolith_tf.placement.table_set import TableSet
from monolith_tf.table import Table


class SavedObjects:
    """The objects of a model that a snapshot holds.

    Args:
        model: A Keras model (compiled, or its optimizer is not saved), a
            `tf.train.Checkpoint`, or any object that TensorFlow tracks.

    Raises:
        TypeError: TensorFlow does not track the object.
        ValueError: It has no table.
    """

    def __init__(self, model: Any):
        """Finds the tables."""
        if not isinstance(model, tf.__internal__.tracking.Trackable):
            raise TypeError(
                "A snapshot is of a Keras model, a tf.train.Checkpoint or "
                "another object that TensorFlow tracks. Received: "
                f"{model!r} (of type {type(model).__name__})."
            )
        parts = {"model": model}
        optimizer = getattr(model, "optimizer", None)
        if isinstance(optimizer, tf.__internal__.tracking.Trackable):
            parts["optimizer"] = optimizer
        self._checkpoint = TracedCheckpoint(**parts)
        self._model = model
        if not self.tables():
            raise ValueError(
                "A snapshot needs an object with tables. Received: "
                f"{type(model).__name__} without one. Tables of a model are "
                "made when its layers are built: build the model first, or "
                "use tf.train.Checkpoint, which needs no tables."
            )

    def tables(self) -> list[Table]:
        """Returns the tables, ordered by name."""
        found, _ = graph_view.ObjectGraphView(
            self._checkpoint
        ).breadth_first_traversal()
        tables = {id(x): x for x in found if isinstance(x, Table)}
        return sorted(tables.values(), key=lambda table: table.name)

    def table_sets(self) -> list[TableSet]:
        """Returns the table sets of the tables, by their first table."""
        found = {
            id(table.table_set): table.table_set for table in self.tables()
        }
        return list(found.values())

    def write_dense(self, prefix: str) -> None:
        """Writes everything but rows to a TensorFlow checkpoint."""
        with rows_elsewhere():
            self._checkpoint.write(prefix)

    def read_dense(self, prefix: str) -> None:
        """Reads what `write_dense` wrote.

        Variables that are made later, such as those of an optimizer before its
        first step, get their values when they are made.
        """
        with rows_elsewhere():
            self._checkpoint.read(prefix).assert_existing_objects_matched()


def write_part(handle, path, snapshot_id):
    """Calls `ops.snapshot_write`; one object, because functions are kept."""
    return ops.snapshot_write(handle, path, snapshot_id)


def begin_part(handle, parent_cut):
    """Calls `ops.snapshot_begin`."""
    return tuple(ops.snapshot_begin(handle, parent_cut))


def abort_part(handle):
    """Calls `ops.snapshot_abort`."""
    ops.snapshot_abort(handle)
    return tf.constant(0)


def part_name(table_set: int, shard: int, num_shards: int) -> str:
    """Returns the name of a part file."""
    return f"rows-{table_set:02d}-{shard:05d}-of-{num_shards:05d}"
