"""The objects of a snapshot of a training session, and their servers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.checkpoint import tf1_graph
from monolith_tf.checkpoint.step_counter import other_ready_variables
from monolith_tf.errors import CheckpointError
from monolith_tf.estimators.table_generations import TableGenerations
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import servers_of
from monolith_tf.snapshots.saved_objects import SavedObjects

v1 = tf.compat.v1


class SessionObjects(SavedObjects):
    """The tables and the global variables of a graph, in a session.

    Call its methods outside of the graph, in a thread of their own if need be:
    all operations exist already.

    Attributes:
        session: The session, set when one is created.

    Raises:
        ValueError: The graph has no tables.
    """

    def __init__(self):
        """Builds the operations in the current graph."""
        graph = v1.get_default_graph()
        self._tables = tf1_graph.tables_in(graph)
        if not self._tables:
            raise ValueError(
                "A snapshot needs a graph with tables. Received: a graph "
                "without one. Read ids through mt.layers.EmbeddingCollection "
                "or DynamicEmbedding, or use checkpoints, which need no tables."
            )
        self.session = None
        self._saver = v1.train.Saver(
            tf1_graph.dense_variables(graph), sharded=True
        )
        self._generations = TableGenerations()
        self._number = v1.placeholder(tf.int64, [])
        self._path = v1.placeholder(tf.string, [])
        self._snapshot_id = v1.placeholder(tf.string, [])
        self._clocks: list[tf.Tensor] = []
        # By table set, shard, and what else tells them apart.
        self._begin_parts, self._write_parts, self._abort_parts = {}, {}, {}
        self._read_parts = {}
        for table_set in self.table_sets():
            for shard, (device, handle) in enumerate(servers_of(table_set)):
                with tf.device(device):
                    self._build_parts(table_set, shard, handle)
        self._begin_restore = self._build_begin(graph)
        self._end_restore = self._build_end()

    def _build_parts(self, table_set: TableSet, shard: int, handle) -> None:
        key = (table_set, shard)
        self._begin_parts[key] = ops.snapshot_begin(handle, self._number)
        self._write_parts[key] = ops.snapshot_write(
            handle, self._path, self._snapshot_id
        )
        self._abort_parts[key] = ops.snapshot_abort(handle)
        mine = self._of(table_set)
        for table in mine:
            self._clocks.append(ops.read_clock(handle, table=table.name))
        tracked = [table for table in mine if table.config.tracks_changes]
        for names in {tuple(x.name for x in some) for some in (mine, tracked)}:
            for reads_state in (False, True) if names else ():
                read = ops.snapshot_read(
                    handle, self._path, tables=names, reads_state=reads_state
                )
                self._read_parts[(*key, names, reads_state)] = read

    def _build_begin(self, graph: tf.Graph) -> tf.Operation:
        """Refuses all tables on all servers, then removes their rows."""
        with tf.control_dependencies(tf1_graph.creators_in(graph)):
            begun = [
                ops.begin_restore(handle, tables=names)
                for names, handle in self._on_servers()
            ]
        with tf.control_dependencies(begun):
            return tf.group(
                [
                    ops.clear(handle, table=name)
                    for names, handle in self._on_servers()
                    for name in names
                ]
            )

    def _build_end(self) -> list[tf.Tensor]:
        """Lets the tables be used, and tells workers that they exist."""
        left = [
            ops.end_restore(handle, tables=names)
            for names, handle in self._on_servers()
        ]
        with tf.control_dependencies(left):
            ready = [
                variable.assign(tf.zeros([], tf.int64)).op
                for table in self._tables
                for variable in other_ready_variables(table)
            ]
        with tf.control_dependencies(ready):
            return [tf.identity(names) for names in left]

    def _on_servers(self) -> Iterator[tuple[list[str], tf.Tensor]]:
        """Yields names of tables and a handle, on the device of its server."""
        for table_set in self.table_sets():
            names = [table.name for table in self._of(table_set)]
            for device, handle in servers_of(table_set):
                with tf.device(device):
                    yield names, handle

    def _of(self, table_set: TableSet) -> list:
        return [x for x in self._tables if x.table_set is table_set]

    def tables(self) -> list:
        """Returns the tables of the graph, ordered by name."""
        return self._tables

    def generations(self) -> list[int]:
        """Returns the generation of each shard of each table set."""
        with _open_session():
            return list(self._generations.read(self.session))

    def event_time(self) -> int:
        """Returns the latest event time of the tables."""
        return max(int(time) for _, time in self._run(self._clocks))

    def write_dense(self, prefix: str) -> None:
        """Writes the global variables to a TensorFlow checkpoint."""
        # Without the graph, a saver would build itself anew.
        with _open_session(), self.session.graph.as_default():
            self._saver.save(
                self.session,
                prefix,
                write_meta_graph=False,
                write_state=False,
            )

    def read_dense(self, prefix: str) -> None:
        """Reads what `write_dense` wrote."""
        with _open_session(), self.session.graph.as_default():
            self._saver.restore(self.session, prefix)

    def begin_part(
        self, table_set: TableSet, shard: int, parent_cut: int
    ) -> tuple[int, int, int]:
        """Calls `ops.snapshot_begin`; generation, from_cut and to_cut."""
        moment = self._run(
            self._begin_parts[table_set, shard], {self._number: parent_cut}
        )
        return tuple(int(x) for x in moment)

    def write_part(
        self, table_set: TableSet, shard: int, path: str, snapshot_id: bytes
    ) -> list[int]:
        """Calls `ops.snapshot_write`; the numbers that it returns."""
        return self._run(
            self._write_parts[table_set, shard],
            {self._path: path, self._snapshot_id: snapshot_id},
        ).tolist()

    def abort_part(self, table_set: TableSet, shard: int) -> None:
        """Calls `ops.snapshot_abort`."""
        self._run(self._abort_parts[table_set, shard])

    def read_part(
        self,
        table_set: TableSet,
        shard: int,
        path: str,
        tables: Sequence[str],
        reads_state: bool,
    ) -> list[int]:
        """Calls `ops.snapshot_read`; numbers of rows set and removed.

        Raises:
            CheckpointError: The graph reads these tables together with others.
        """
        key = (table_set, shard, tuple(tables), reads_state)
        if key not in self._read_parts:
            raise CheckpointError(
                f"A snapshot has the tables {list(tables)} in a file of their "
                "own. Expected the tables of a table set of the graph, "
                f"{[x.name for x in self._of(table_set)]}, with the same "
                "tracks_changes as when it was saved. Restore it with "
                "mt.snapshots.restore outside of a graph."
            )
        return self._run(self._read_parts[key], {self._path: path}).tolist()

    @contextlib.contextmanager
    def restoring(self, tables: Sequence) -> Iterator[None]:
        """Makes a block the restore of all tables, which begin without rows.

        Raises:
            CheckpointError: Tables of an earlier restore that failed are still
                to be restored.
        """
        del tables  # All of the graph.
        self._run(self._begin_restore)
        yield
        ended = self._run(self._end_restore)
        left = {name for names in ended for name in names}
        if left:
            raise CheckpointError(
                f"Tables {sorted(x.decode() for x in left)} are still to be "
                "restored: they are not in the graph, and an earlier restore "
                "of them failed. Restart the parameter servers."
            )

    def _run(self, fetches, feed_dict=None):
        with _open_session():
            return self.session.run(fetches, feed_dict)


@contextlib.contextmanager
def _open_session() -> Iterator[None]:
    """Turns the error of a closed session into one of TensorFlow's."""
    try:
        yield
    except RuntimeError as error:
        # Of `Session.run` when the training recovers its session.
        raise tf.errors.CancelledError(
            None, None, f"The session was closed: {error}"
        ) from error
