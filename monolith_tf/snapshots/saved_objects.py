"""The objects of a snapshot: dense variables, tables, and their servers."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.checkpoint import graph_view

from monolith_tf import ops
from monolith_tf.checkpoint import restore_scope
from monolith_tf.checkpoint.rows_elsewhere import rows_elsewhere
from monolith_tf.checkpoint.traced_checkpoint import TracedCheckpoint
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import call_server
from monolith_tf.table import Table


class SavedObjects:
    """The objects of a model that a snapshot holds, and calls of its servers.

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

    @classmethod
    def of(cls, model: Any) -> SavedObjects:
        """Returns the objects of a model, or `model` if it is such already."""
        return model if isinstance(model, SavedObjects) else SavedObjects(model)

    def tables(self) -> list:
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

    def generations(self) -> list[int]:
        """Returns the generation of each shard of each table set."""
        return [
            generation
            for table_set in self.table_sets()
            for generation in table_set.generations()
        ]

    def event_time(self) -> int:
        """Returns the latest event time of the tables."""
        return max(
            clock[1]
            for table in self.tables()
            for clock in table.table_set.clocks(table.name)
        )

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

    def begin_part(
        self, table_set: TableSet, shard: int, parent_cut: int
    ) -> tuple[int, int, int]:
        """Calls `ops.snapshot_begin`; generation, from_cut and to_cut."""
        moment = call_server(table_set, shard, _begin_part, parent_cut)
        return tuple(int(x) for x in moment)

    def write_part(
        self, table_set: TableSet, shard: int, path: str, snapshot_id: bytes
    ) -> list[int]:
        """Calls `ops.snapshot_write`; the numbers that it returns."""
        return [
            int(x)
            for x in call_server(
                table_set, shard, _write_part, texts=(path, snapshot_id)
            )
        ]

    def abort_part(self, table_set: TableSet, shard: int) -> None:
        """Calls `ops.snapshot_abort`."""
        call_server(table_set, shard, _abort_part)

    def read_part(
        self,
        table_set: TableSet,
        shard: int,
        path: str,
        tables: Sequence[str],
        reads_state: bool,
    ) -> list[int]:
        """Calls `ops.snapshot_read`; numbers of rows set and removed."""
        reader = _reader(tuple(tables), reads_state)
        found = call_server(table_set, shard, reader, texts=(path,))
        return [int(x) for x in found]

    @contextlib.contextmanager
    def restoring(self, tables: Sequence) -> Iterator[None]:
        """Makes a block the restore of tables, which begin without rows."""
        with restore_scope.restoring(tables):
            restores = [restore_scope.TableRestore(x) for x in tables]
            for restore in restores:
                restore.begin()
            for table in tables:
                table.clear()
            yield
            for restore in restores:
                restore.end()


def part_name(table_set: int, shard: int, num_shards: int) -> str:
    """Returns the name of a part file."""
    return f"rows-{table_set:02d}-{shard:05d}-of-{num_shards:05d}"


# One object per op, because functions are kept.


def _begin_part(handle, parent_cut):
    return tuple(ops.snapshot_begin(handle, parent_cut))


def _write_part(handle, path, snapshot_id):
    return ops.snapshot_write(handle, path, snapshot_id)


def _abort_part(handle):
    ops.snapshot_abort(handle)
    return tf.constant(0)


@functools.cache
def _reader(tables: tuple[str, ...], reads_state: bool):
    def read_part(handle, path):
        return ops.snapshot_read(
            handle, path, tables=tables, reads_state=reads_state
        )

    return read_part
