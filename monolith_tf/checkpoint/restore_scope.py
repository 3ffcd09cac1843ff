"""When the restore of a table set begins and ends.

While a set is restored, its servers refuse lookups, updates, deltas and exports
(`tf.errors.AbortedError`). It begins on all servers before the first table
changes, and ends with one new generation after the last one. Which table is the
last:

- In `with restoring():`, which all restores of this library open, the end of
  the block.
- In `tf.train.Checkpoint.restore` and `read`, the last table of the set that
  the checkpoint has.
- In a TensorFlow 1 graph, the last table that the same saver restores.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import weakref
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.errors import CheckpointError
from monolith_tf.placement.registry import tables_of
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import new_generation
from monolith_tf.placement.table_set import servers_of

# Collection of a graph: the `_Operations` of each table that it restores. Not a
# string: TensorFlow writes collections with string keys into its meta graphs.
_RESTORES = ("monolith_tf", "restores")


class _Scope:
    """The restores of a `with restoring():` block."""

    def __init__(self):
        # Table sets of the block, to the names of the tables restored in it.
        self.restored: dict[TableSet, list[str]] = {}
        # Those of which a table may have changed.
        self.changed: set[TableSet] = set()

    def refuse(self, table_set: TableSet) -> None:
        """Begins the restore of a table set that has not changed yet."""
        self.restored[table_set] = []
        for device, handle in servers_of(table_set):
            with tf.device(device):
                ops.begin_restore(handle)

    def end(self) -> None:
        """Ends all restores of the block."""
        for table_set, names in self.restored.items():
            for unrestored in _end(table_set, names):
                _check_all_restored(unrestored)

    def undo(self) -> None:
        """Lets the unchanged table sets of a block that failed be used."""
        for table_set in self.restored.keys() - self.changed:
            _end(table_set, [])


_scope: contextvars.ContextVar[_Scope | None] = contextvars.ContextVar(
    "monolith_tf_restoring", default=None
)
# Table to the restore of a `tf.train.Checkpoint` that began to restore it.
_begun: weakref.WeakKeyDictionary[TableHandle, int] = (
    weakref.WeakKeyDictionary()
)


@contextlib.contextmanager
def restoring(model=None) -> Iterator[None]:
    """Makes the restores in a block one restore.

    Nothing reads or updates the tables of a table set that is being restored:
    training steps, lookups and exports fail with `tf.errors.AbortedError`, and
    a pusher of deltas waits. At the end of the block the set gets one new
    generation. If the block raises after a table changed, the set stays
    refused: restore again, or call `TableSet.abandon_restore`. A block in a
    block belongs to the outer one.

    Use it around several calls that restore one model, such as `load_weights`
    of a file that ends in `.keras`, which restores layer by layer.

    Args:
        model: A Keras model or layer, an `mt.Table`, or a list of these: their
            tables are refused from the beginning of the block, before dense
            weights change. None: from the first change of a table.

    Raises:
        CheckpointError: At the end of the block, tables of an earlier restore
            that failed are still to be restored.

    Example:
    >>> import tempfile
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> table = mt.Table(mt.TableConfig("movie", dim=1))
    >>> table.assign([7], [[0.5]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = tf.train.Checkpoint(table=table).write(f"{folder}/saved")
    ...     with mt.checkpoint.restoring(table):
    ...         mt.checkpoint.restore_tables(table, path)
    >>> table.lookup([7]).numpy()
    array([[0.5]], dtype=float32)
    """
    outer = _scope.get()
    scope = _Scope() if outer is None else outer
    table_sets = (
        [] if model is None else [t.table_set for t in tables_of(model)]
    )
    token = _scope.set(scope)
    try:
        for table_set in table_sets:
            if table_set.graph is None and table_set not in scope.restored:
                scope.refuse(table_set)
        yield
    except BaseException:
        if outer is None:
            scope.undo()
        raise
    finally:
        _scope.reset(token)
    if outer is None:
        scope.end()


@dataclasses.dataclass
class _Operations:
    """Where the restore of a table in a graph begins and ends."""

    source: object
    table_set: TableSet
    begun: list[tf.Operation]
    ended: list[tf.Operation] = dataclasses.field(default_factory=list)


class TableRestore:
    """The restore of one table, as part of that of its table set.

    Args:
        table: The table.
        source: What is restored. Tables of a set with an equal source are
            restored together: in a graph any object, else the number of the
            restore of a `tf.train.Checkpoint`. None for a restore of its own.
    """

    def __init__(self, table: TableHandle, source=None):
        """Begins nothing yet."""
        self._table = table
        self._source = source
        self._in_graph = table.table_set.graph is not None
        self._scope = _scope.get()

    def begin(self) -> list[tf.Operation]:
        """Begins the restore on every server.

        Returns:
            The operations, empty when executing eagerly. The table may change
            after them.
        """
        names = [self._table.name, *self._others()]
        if self._scope is not None and not self._in_graph:
            self._scope.changed.add(self._table.table_set)
            self._scope.restored.setdefault(self._table.table_set, [])
        if self._source is not None and not self._in_graph:
            _begun[self._table] = self._source
        table_set = self._table.table_set
        earlier = self._earlier()
        begun = []
        # No table of a restore ends it before all of them have begun.
        with tf.control_dependencies(
            [op for restore in earlier for op in restore.begun]
        ):
            for device, handle in servers_of(table_set):
                with tf.device(device):
                    begun.append(ops.begin_restore(handle, tables=names))
        if not self._in_graph:
            return [op for op in begun if op is not None]
        for restore in earlier:
            for operation in restore.ended:
                operation._add_control_inputs(begun)
        self._operations = _Operations(self._key(), table_set, begun)
        table_set.graph.add_to_collection(_RESTORES, self._operations)
        return begun

    def end(self) -> list[tf.Operation]:
        """Ends the restore of this table, and of the set with its last table.

        Call it after all changes of the table on all servers.

        Returns:
            The operations, empty when executing eagerly.

        Raises:
            CheckpointError: Tables of an earlier restore that failed are still
                to be restored.
        """
        table_set = self._table.table_set
        if self._scope is not None and not self._in_graph:
            self._scope.restored[table_set].append(self._table.name)
            return []
        others = self._others()
        ended = []
        for unrestored in _end(table_set, [self._table.name]):
            if hasattr(unrestored, "numpy"):
                _check_all_restored(unrestored, others)
            else:
                ended.append(unrestored.op)
        if self._in_graph:
            self._operations.ended += ended
        return ended

    def _others(self) -> list[str]:
        """Names of the tables that the same checkpoint restores after this."""
        if self._source is None or self._in_graph or self._scope is not None:
            return []
        # TensorFlow numbers its restores, and gives all objects of a checkpoint
        # the number before it restores the first.
        return [
            table.name
            for table in self._table.table_set.tables
            if table is not self._table
            and getattr(table, "_update_uid", None) == self._source
            and _begun.get(table) != self._source
        ]

    def _key(self):
        return self if self._source is None else self._source

    def _earlier(self) -> list[_Operations]:
        """The restores in a graph that belong together with this one."""
        if not self._in_graph:
            return []
        table_set = self._table.table_set
        return [
            restore
            for restore in table_set.graph.get_collection(_RESTORES)
            if restore.source is self._key() and restore.table_set is table_set
        ]


def source_in_graph(tensor: tf.Tensor):
    """Returns what identifies the saver that restores a tensor in a graph.

    Args:
        tensor: A tensor that a saver read.

    Returns:
        The operation that names the checkpoint, or in a `restoring` block that
        block; None for a tensor that no saver read.
    """
    if _scope.get() is not None:
        return _scope.get()
    operation = tensor.op
    while operation.type == "Identity":
        operation = operation.inputs[0].op
    return operation.inputs[0].op if operation.type == "RestoreV2" else None


def _end(table_set: TableSet, names: list[str]) -> list[tf.Tensor]:
    """Ends the restore of tables; what is left to restore on each server."""
    left = []
    for device, handle in servers_of(table_set):
        generation = 0 if table_set.graph is not None else new_generation()
        with tf.device(device):
            left.append(
                ops.end_restore(handle, tables=names, generation=generation)
            )
    return left


def _check_all_restored(unrestored: tf.Tensor, expected=()) -> None:
    names = [name.decode() for name in unrestored.numpy()]
    names = [name for name in names if name not in expected]
    if names:
        raise CheckpointError(
            f"Tables {names} are still to be restored: an earlier restore of "
            "them failed. Expected a restore of all of them. The table set "
            "stays refused until they are restored, or until "
            "table_set.abandon_restore() clears its tables."
        )
