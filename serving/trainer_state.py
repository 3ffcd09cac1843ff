"""The trainer's side of deltas: tables and dense variables."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from monolith_tf.errors import RestoredMeanwhileError
from monolith_tf.placement.server_calls import ServerCalls
from monolith_tf.serving import delta as delta_lib
from monolith_tf.serving.export_record import ExportRecord


class TrainerState:
    """A table set together with the dense variables.

    Args:
        table_set: Has `num_shards`, `start_deltas()` and `take_delta(shard,
            acked_cut)`.
        dense_variables: Variables in the order of the export's manifest.
    """

    def __init__(self, table_set, dense_variables: Sequence):
        """Keeps the arguments."""
        self._table_set = table_set
        self._dense_variables = list(dense_variables)
        self._calls = ServerCalls()

    @classmethod
    def of(cls, source) -> TrainerState:
        """Takes a model, or a pair (table set, dense variables).

        Raises:
            TypeError: `source` is neither.
            ValueError: The model has no tables, or tables of several sets.
        """
        if isinstance(source, TrainerState):
            return source
        if isinstance(source, tuple) and len(source) == 2:
            return cls(*source)
        if not hasattr(source, "variables"):
            raise TypeError(
                "Deltas are cut from a Keras model or from a pair (table "
                f"set, dense variables). Received: {type(source).__name__}."
            )
        # Imported here, because a pusher of a table set needs no model.
        from monolith_tf.placement.registry import tables_of
        from monolith_tf.serving.graph import model_trace

        tables = tables_of(source)
        if not tables:
            raise ValueError(
                f"Model {getattr(source, 'name', source)!r} has no tables, so "
                "there are no deltas. Expected a model that reads ids through "
                "mt.layers.EmbeddingCollection or DynamicEmbedding."
            )
        return cls(tables[0].table_set, model_trace.dense_variables(source))

    @property
    def num_shards(self) -> int:
        """Current number of shards of the table set."""
        return self._table_set.num_shards

    def start_deltas(self) -> None:
        """Starts the logging of changed ids.

        Raises:
            ValueError: A table does not track changes.
        """
        silent = [
            table.name
            for table in getattr(self._table_set, "tables", [])
            if not table.config.tracks_changes
        ]
        if silent:
            raise ValueError(
                "Deltas need tables with tracks_changes=True. Received: "
                f"{', '.join(silent)} with tracks_changes=False. Leave it "
                "out, or serve full exports only."
            )
        self._table_set.start_deltas()

    def take_delta(self, shard: int, acked_cut: int):
        """Returns the changes of a shard after `acked_cut`."""
        return self._table_set.take_delta(shard, acked_cut)

    def dense_bytes(self, record: ExportRecord) -> bytes:
        """Returns the little-endian bytes of all dense variables, in order.

        Each variable is consistent; a training step may run between the reads
        of two variables.

        Raises:
            ValueError: The variables are not those of the export.
        """
        values = self._read_dense()
        expected = [(d["dtype"], tuple(d["shape"])) for d in record.dense]
        found = [(v.dtype.name, v.shape) for v in values]
        if found != expected:
            raise ValueError(
                f"The export has dense variables {expected}. The trainer has: "
                f"{found}. Write a new export."
            )
        return b"".join(value.tobytes() for value in values)

    def _read_dense(self) -> list[np.ndarray]:
        variables = self._dense_variables

        def read():
            return [tf.convert_to_tensor(variable) for variable in variables]

        # A function would capture the values of other objects.
        is_kept = all(isinstance(v, tf.Variable) for v in variables)
        found = self._calls.call("dense", None, read) if is_kept else read()
        return [value.numpy() for value in found]


def is_restore(error: BaseException) -> bool:
    """Returns True if an error means that tables are, or just were, restored.

    The call succeeds after the restore.
    """
    if isinstance(error, RestoredMeanwhileError):
        return True
    return isinstance(
        error, tf.errors.AbortedError
    ) and "is being restored" in str(error)


def split_delta(
    delta, names: Collection[str], chunk_rows: int
) -> Iterator[tuple[delta_lib.TableChunk, ...]]:
    """Splits the delta of a shard into pieces of a few rows.

    Args:
        delta: Result of `take_delta`.
        names: Tables of the export; others in the set are left out.
        chunk_rows: The most ids of a piece, over all its tables.

    Yields:
        A tuple of `TableChunk`, never empty; nothing for an empty delta.
    """
    piece, room = [], chunk_rows
    for name in sorted(delta.tables.keys() & set(names)):
        table = delta.tables[name]
        start, first_row, num_ids = 0, 0, len(table.ids)
        while start < num_ids:
            end = min(num_ids, start + room)
            exists = table.exists[start:end]
            end_row = first_row + int(np.count_nonzero(exists))
            piece.append(
                delta_lib.TableChunk(
                    name=name,
                    ids=table.ids[start:end],
                    exists=exists,
                    rows=table.rows[first_row:end_row],
                )
            )
            room -= end - start
            start, first_row = end, end_row
            if room == 0:
                yield tuple(piece)
                piece, room = [], chunk_rows
    if piece:
        yield tuple(piece)
