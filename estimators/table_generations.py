"""Generations of the tables of a graph, read through a session."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.checkpoint.tf1_graph import tables_in
from monolith_tf.placement.table_set import Server
from monolith_tf.placement.table_set import servers_of


def servers_in(graph: tf.Graph) -> list[Server]:
    """Returns the servers of all table sets of a graph."""
    table_sets = {table.table_set: None for table in tables_in(graph)}
    return [server for found in table_sets for server in servers_of(found)]


class TableGenerations:
    """The generations of all tables of the current graph, on all servers.

    A server draws a new generation when its tables are created or restored. So
    equal generations mean that the tables have lost nothing in between.
    """

    def __init__(self):
        """Builds the operations."""
        self._status = []
        for device, handle in servers_in(tf.compat.v1.get_default_graph()):
            with tf.device(device):
                self._status.append(ops.table_set_status(handle)[0])

    def __len__(self) -> int:
        """Number of servers, counted once per table set."""
        return len(self._status)

    def read(self, session) -> tuple[int, ...]:
        """Reads the generation on each server.

        Args:
            session: A session of the graph.

        Raises:
            tf.errors.AbortedError: The tables are being restored
                (`serving.trainer_state.is_restore`), or a server is lost.
            tf.errors.FailedPreconditionError: A server has no tables.
        """
        return tuple(int(found) for found in session.run(self._status))
