"""Tables and variables of a training session, read between its steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from monolith_tf import ops
from monolith_tf.checkpoint.tf1_graph import tables_in
from monolith_tf.placement.deltas import ShardDelta
from monolith_tf.placement.deltas import TableDelta
from monolith_tf.placement.table_set import servers_of

v1 = tf.compat.v1


class SessionTableSet:
    """A table set for `serving`, over a training session.

    Its operations are built in the current graph. They run in `session`, which
    is set when the session is created or recovered.

    Raises:
        ValueError: The graph has no tables.
    """

    def __init__(self):
        """Builds the operations."""
        tables = tables_in(v1.get_default_graph())
        if not tables:
            raise ValueError(
                "The model_fn reads no tables, so there are no deltas. Read "
                "ids through mt.layers.EmbeddingCollection or DynamicEmbedding."
            )
        self.session = None
        table_set = tables[0].table_set
        self.num_shards = table_set.num_shards
        self._names = [table.name for table in tables]
        self._clocks: dict[str, list] = {name: [] for name in self._names}
        self._number = v1.placeholder(tf.int64, [])
        self._status, self._start, self._take = [], [], []
        for device, handle in servers_of(table_set):
            with tf.device(device):
                self._status.append(ops.table_set_status(handle))
                self._start.append(
                    ops.start_deltas(
                        handle, max_log_bytes=table_set.max_log_bytes
                    )
                )
                for name, clocks in self._clocks.items():
                    clocks.append(ops.read_clock(handle, table=name))
                self._take.append(
                    ops.take_delta(
                        handle,
                        self._number,
                        tables=self._names,
                        dims=[table.dim for table in tables],
                    )
                )
        self.tables = [
            SessionTable(table, self, self._number) for table in tables
        ]

    def generations(self) -> list[int]:
        """Returns each shard's generation."""
        return [int(generation) for generation, _ in self.run(self._status)]

    def clocks(self, table_name: str) -> list[tuple[int, int]]:
        """Returns each shard's latest update and event time of a table."""
        clocks = self.run(self._clocks[table_name])
        return [(int(step), int(time)) for step, time in clocks]

    def start_deltas(self) -> list[int]:
        """Starts to log changed ids; returns the cut of each shard."""
        return [int(cut) for cut in self.run(self._start)]

    def take_delta(self, shard: int, acked_cut: int) -> ShardDelta:
        """Reads the changes of a shard since a cut."""
        taken = self.run(self._take[shard], acked_cut)
        parts = zip(
            self._names, taken.ids, taken.exists, taken.rows, strict=True
        )
        return ShardDelta(
            shard=shard,
            num_shards=self.num_shards,
            generation=int(taken.generation),
            from_cut=int(taken.from_cut),
            to_cut=int(taken.to_cut),
            tables={name: TableDelta.of_op(*part) for name, *part in parts},
        )

    def run(self, fetches, number: int = 0):
        """Runs operations in the session.

        Args:
            fetches: Fetches of `session.run`.
            number: Value of the common placeholder of the operations.
        """
        return self.session.run(fetches, {self._number: number})


class SessionTable:
    """A table of a training session, for an export.

    Args:
        table: The table of the graph.
        table_set: Table set of the session.
        cursor: Placeholder of the read position.
    """

    def __init__(self, table, table_set: SessionTableSet, cursor):
        """Builds the operations that read a part of a shard."""
        self.config = table.config
        self.name = table.name
        self.dim = table.dim
        self.table_set = table_set
        self._chunks = []
        for device, handle in servers_of(table.table_set):
            with tf.device(device):
                self._chunks.append(
                    ops.export_chunk(
                        handle,
                        cursor,
                        table=table.name,
                        max_rows=65536,
                        values=True,
                    )
                )

    def export(
        self, batch_size: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields ids and rows in batches."""
        del batch_size  # The operations have it.
        for chunk in self._chunks:
            cursor = 0
            while cursor != -1:
                ids, _, rows, cursor = self.table_set.run(chunk, cursor)
                yield ids, rows


class SessionVariable:
    """A variable of the session that converts to an array.

    Args:
        variable: The variable of the graph.
        table_set: Table set of the session.
    """

    def __init__(self, variable, table_set: SessionTableSet):
        """Builds the operation that reads it."""
        self._value = tf.identity(variable)
        self._table_set = table_set

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Reads the variable."""
        del copy
        return np.asarray(self._table_set.session.run(self._value), dtype)
