"""Tables in a TensorFlow 1 graph: creation, saving and readiness.

In `with tf.Graph().as_default():` nothing runs while the graph is built, so ops
of the graph create a table and restore its rows. Each server has one ready
variable per table, which is initialized after the table was created or restored
there. The usual TensorFlow 1 programs work unchanged:
`tf.compat.v1.global_variables_initializer()` creates the tables, a
`tf.compat.v1.train.Saver` saves and restores them, and the ready op of a
session, `report_uninitialized_variables`, waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tensorflow.python.ops import resource_variable_ops
from tensorflow.python.training.saving import saveable_object

from monolith_tf import ops
from monolith_tf.checkpoint import table_state
from monolith_tf.checkpoint.saved_tables import ATTRIBUTES
from monolith_tf.checkpoint.step_counter import keep_step_counter
from monolith_tf.checkpoint.step_counter import step_counter
from monolith_tf.placement.graph_scope import building_graph
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.placement.table_set import servers_of

# Collections of a graph: its tables, and their ready variables.
TABLES = ("monolith_tf", "tables")
READY = ("monolith_tf", "ready")

# Prefix of a table's parts in a checkpoint of a graph.
KEY_PREFIX = "monolith_tf/"


def tables_in(graph: tf.Graph) -> list[TableHandle]:
    """Returns the tables that were made in a graph, by name."""
    return sorted(graph.get_collection(TABLES), key=lambda table: table.name)


def add_table(table: TableHandle, created: Sequence[tf.Operation]) -> None:
    """Adds a new table to the graph: its ready variables and its savers.

    Ready variables are int64 scalars, one per server and placed there. The
    first is the table's step counter.

    Args:
        table: A table of the graph that is built.
        created: Per server the operation that creates the table there.
    """
    made = []
    graph = building_graph()
    for shard, (device, handle) in enumerate(servers_of(table.table_set)):

        def start(device=device, handle=handle, create=created[shard]):
            # A server has rows if only its chief was restarted.
            with tf.device(device):
                with tf.control_dependencies([create]):
                    clear = ops.clear(handle, table=table.name)
                # The restore of a chief that died is over, too.
                with tf.control_dependencies([clear]):
                    abandon = ops.abandon_restore(handle)
                with tf.control_dependencies([abandon]):
                    return tf.zeros([], tf.int64)

        with tf.init_scope(), tf.device(device):
            variable = resource_variable_ops.ResourceVariable(
                start,
                trainable=False,
                name=f"monolith_tf_ready/{table.name}/{shard}",
            )
        graph.add_to_collection(READY, variable)
        made.append(variable)
    keep_step_counter(table, made)
    graph.add_to_collection(TABLES, table)
    for saveable in _TableSaver(table, created).saveables:
        graph.add_to_collection(
            tf.compat.v1.GraphKeys.SAVEABLE_OBJECTS, saveable
        )


class _TableSaver:
    """A table's parts of a `tf.compat.v1.train.Saver`: one per server.

    Each server writes and reads its own groups. A saver restores server by
    server, so the rows are set together with the last part.
    """

    def __init__(self, table: TableHandle, created):
        """Builds the ops that read the table."""
        self._table = table
        self.created = created
        by_server: dict[str, dict[str, tf.Tensor]] = {}
        for part, tensor in table_state.serialize(table).items():
            by_server.setdefault(tensor.device, {})[part] = tensor
        self.saveables = [
            _ServerSaveable(self, number, created[number], device, parts)
            for number, (device, parts) in enumerate(by_server.items())
        ]
        self._restored: dict[str, tf.Tensor] = {}
        self._asked: set[int] = set()

    @property
    def name(self) -> str:
        """Prefix of the parts in a checkpoint."""
        return KEY_PREFIX + self._table.name

    def restore(self, number: int, parts: dict[str, tf.Tensor]) -> tf.Operation:
        """Creates the table and sets its rows, with the last of the parts.

        Args:
            number: Number of the saveable.
            parts: Tensors that its server read, by name.
        """
        self._restored.update(parts)
        self._asked.add(number)
        if len(self._asked) < len(self.saveables):
            return tf.no_op()
        tensors, self._restored, self._asked = self._restored, {}, set()
        with tf.control_dependencies(self.created):
            for part, tensor in tensors.items():
                with tf.device(tensor.device):
                    tensors[part] = tf.identity(tensor)
        return table_state.restore(self._table, tensors)


class _ServerSaveable(saveable_object.SaveableObject):
    """One server's part of a table."""

    def __init__(self, saved: _TableSaver, number, op, device, parts):
        """Names the tensors as in a checkpoint."""
        self._saved = saved
        # Of all servers: those on one device share a saveable.
        self.created = saved.created
        self._number = number
        self._parts = list(parts)
        specs = []
        with tf.device(device):
            for part, tensor in parts.items():
                key = saved.name + ATTRIBUTES + part
                specs.append(
                    saveable_object.SaveSpec(
                        tf.identity(tensor), "", key, device=device
                    )
                )
        # The first has the name of the table, the others a suffix.
        name = saved.name + (f"/{number}" if number else "")
        super().__init__(op, specs, name)

    def restore(self, restored_tensors, restored_shapes):
        """Passes on the tensors that the server read."""
        del restored_shapes
        parts = dict(zip(self._parts, restored_tensors, strict=True))
        return self._saved.restore(self._number, parts)


def saved_variables(graph: tf.Graph) -> list:
    """Returns the objects that a saver of a graph saves.

    Tables are saveable objects with keys that do not depend on the number of
    servers; their ready variables are left out.
    """
    of_tables = {id(variable) for variable in graph.get_collection(READY)}
    keys = tf.compat.v1.GraphKeys
    return [
        variable
        for variable in graph.get_collection(keys.GLOBAL_VARIABLES)
        if id(variable) not in of_tables
    ] + graph.get_collection(keys.SAVEABLE_OBJECTS)


def dense_variables(graph: tf.Graph) -> list:
    """Returns the objects that a saver of everything but rows saves.

    The step counter of a table is among them. It is also the ready variable of
    its first server.
    """
    of_tables = {id(variable) for variable in graph.get_collection(READY)}
    keys = tf.compat.v1.GraphKeys
    return [
        *(
            variable
            for variable in graph.get_collection(keys.GLOBAL_VARIABLES)
            if id(variable) not in of_tables
        ),
        *(
            saveable
            for saveable in graph.get_collection(keys.SAVEABLE_OBJECTS)
            if not isinstance(saveable, _ServerSaveable)
        ),
        *(step_counter(table) for table in tables_in(graph)),
    ]


def creators_in(graph: tf.Graph) -> list[tf.Operation]:
    """Returns the operations that create the tables, one per server of each.

    They leave tables as they are that exist already.
    """
    created = {
        operation.name: operation
        for saveable in graph.get_collection(
            tf.compat.v1.GraphKeys.SAVEABLE_OBJECTS
        )
        if isinstance(saveable, _ServerSaveable)
        for operation in saveable.created
    }
    return list(created.values())
