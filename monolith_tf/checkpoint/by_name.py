"""Finds tables in a checkpoint by name, whoever saved it.

Keras and `tf.train.Checkpoint` key what they save by the way to an object,
Estimators and other savers of graphs by its name. The parts of a table are the
same, and one of them, the layout, ends with the table's name.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.checkpoint import table_state
from monolith_tf.checkpoint.tf1_graph import ATTRIBUTES
from monolith_tf.checkpoint.tf1_graph import READY
from monolith_tf.errors import CheckpointError
from monolith_tf.placement import sharding
from monolith_tf.placement.registry import tables_of

_LAYOUT = ATTRIBUTES + "layout"


def checkpoint_path(path: str | os.PathLike) -> str:
    """Returns the prefix of a checkpoint, of a folder the latest one's.

    Raises:
        CheckpointError: There is none.
    """
    path = os.fspath(path)
    found = path
    if tf.io.gfile.isdir(path):
        found = tf.train.latest_checkpoint(path)
    if not found or not tf.io.gfile.glob(found + ".index"):
        raise CheckpointError(
            f"There is no checkpoint at {path!r}. Expected the prefix of one, "
            'such as "model/model.ckpt-100", or a folder with one.'
        )
    return found


def tables_in_checkpoint(path: str | os.PathLike) -> dict[str, str]:
    """Returns the tables of a checkpoint: by name, where its parts stand.

    Args:
        path: Prefix of a checkpoint, or a folder.
    """
    reader = tf.train.load_checkpoint(checkpoint_path(path))
    found = {}
    for key in sorted(reader.get_variable_to_shape_map()):
        if not key.endswith(_LAYOUT):
            continue
        name = table_state.name_in(reader.get_tensor(key).decode())
        if name is not None:
            found.setdefault(name, key[: -len("layout")])
    return found


def restore_tables(
    model,
    path: str | os.PathLike,
    names: Mapping[str, str] | None = None,
    *,
    only: Collection[str] | None = None,
    slots: bool = True,
) -> None:
    """Puts the rows of a checkpoint in place of those of a model's tables.

    Tables are found by name, so that it does not matter whether Keras
    (`save_weights` in TensorFlow's format), a `tf.train.Checkpoint` or an
    Estimator saved them, on how many servers. Nothing changes unless all tables
    fit.

    Args:
        model: A Keras model or layer, an `mt.Table`, or a list of these.
        path: Prefix of the checkpoint, or its folder.
        names: Name of a table of the model to that in the checkpoint, where
            they differ.
        only: Names of the tables of the model to restore; others stay as they
            are. Default: all.
        slots: Whether to go on where the checkpoint ended: with the slots, the
            times, the steps and what admission counted. False takes weights
            alone, as `Table.assign` sets them: slots are initial, times are
            now, no admission is asked. Then only the dims need to be equal;
            optimizers may differ.

    Raises:
        CheckpointError: The checkpoint lacks a table, or its rows do not fit.
        ValueError: The model has no table, `names` or `only` name one that it
            has not, or slots=False is asked for in a graph.

    Example:
    >>> import tempfile
    >>> import monolith_tf as mt
    >>> with mt.TableSet():
    ...     saved = mt.Table(mt.TableConfig("movie", dim=1))
    >>> sgd = mt.optimizers.SGD(0.1)
    >>> with mt.TableSet():
    ...     film = mt.Table(mt.TableConfig("film", dim=1, optimizer=sgd))
    >>> saved.assign([7], [[0.5]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = tf.train.Checkpoint(any_name=saved).write(f"{folder}/one")
    ...     mt.checkpoint.restore_tables(
    ...         film, path, {"film": "movie"}, slots=False)
    >>> film.lookup([7]).numpy()
    array([[0.5]], dtype=float32)
    """
    names = names or {}
    tables: Sequence = tables_of(model)
    if not tables:
        raise ValueError(
            f"restore_tables: there is no table in {model!r}; pass a model "
            "that has one."
        )
    _check_names(tables, "names", names)
    if only is not None:
        _check_names(tables, "only", only)
        tables = [table for table in tables if table.name in only]
    if not slots and any(t.table_set.graph is not None for t in tables):
        raise ValueError(
            "restore_tables takes weights without slots into tables that are "
            "there, not into those of a graph. Leave slots=False out, or "
            "restore before the graph is built."
        )
    path = checkpoint_path(path)
    saved = [
        _SavedTable.find(path, names.get(table.name, table.name))
        for table in tables
    ]
    for table, one in zip(tables, saved, strict=True):
        if slots:
            table_state.check_fits(table, one.layout, one.filter)
        else:
            one.check_dims(table)
    for table, one in zip(tables, saved, strict=True):
        if slots:
            restore_op(table, path, one.name)
        else:
            one.assign_to(table)


def _check_names(tables, argument: str, names: Collection[str]) -> None:
    if isinstance(names, str):
        raise ValueError(
            f"{argument} must be a collection of names. Received: {names!r}."
        )
    known = [table.name for table in tables]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(
            f"{argument} names {unknown}, which are no tables of the model. "
            f"Those are {known}."
        )


@dataclasses.dataclass(frozen=True)
class _SavedTable:
    """A table in a checkpoint: its name, and where its parts stand."""

    path: str
    name: str
    prefix: str

    @classmethod
    def find(cls, path: str, name: str) -> _SavedTable:
        found = tables_in_checkpoint(path)
        if name not in found:
            raise CheckpointError(
                f"The checkpoint {path!r} has no table {name!r}. It has "
                f"{sorted(found)}. Map the names where they differ; a "
                "checkpoint of before tables had names in it restores by "
                "tf.train.Checkpoint(...).restore, as it was saved."
            )
        return cls(path, name, found[name])

    def part(self, name: str):
        return tf.train.load_checkpoint(self.path).get_tensor(
            self.prefix + name
        )

    @property
    def layout(self) -> str:
        return self.part("layout").decode()

    @property
    def filter(self) -> str:
        return self.part("filter").decode()

    def check_dims(self, table) -> None:
        """Refuses weights of other dims than those of the table."""
        expected = [segment.dim for segment in table.config.segments]
        found = [int(dim) for dim in re.findall(r"dim=(\d+)", self.layout)]
        if found != expected:
            raise CheckpointError(
                f"The weights of table {self.name!r} of the checkpoint do not "
                f"fit table {table.name!r}, whose segments have the dims "
                f"{expected}. The checkpoint has {found}. Nothing was "
                "restored; make a table of those dims."
            )

    def assign_to(self, table) -> None:
        """Puts the weights, without slots, in place of the table's rows."""
        table.clear()
        # A group at a time: a table may be larger than what one process holds.
        for group in range(sharding.NUM_GROUPS):
            ids = self.part(f"keys-{group:02d}")[:, 0]
            rows = self.part(f"rows-{group:02d}")[:, : table.dim]
            table.assign(ids, rows)


def restore_op(table, path: str | os.PathLike, name: str):
    """Restores one table; in a graph, returns the operation that does."""
    path = checkpoint_path(path)
    prefix = _SavedTable.find(path, name).prefix
    reader = tf.train.load_checkpoint(path)
    dtypes = reader.get_variable_to_dtype_map()
    parts = sorted(
        key[len(prefix) :] for key in dtypes if key.startswith(prefix)
    )
    tensors = tf.raw_ops.RestoreV2(
        prefix=path,
        tensor_names=[prefix + part for part in parts],
        shape_and_slices=[""] * len(parts),
        dtypes=[dtypes[prefix + part] for part in parts],
    )
    ready: Sequence = ()
    if table.table_set.graph is not None:
        ready = [
            variable
            for variable in table.table_set.graph.get_collection(READY)
            if variable.op.name.split("/")[-2] == table.name
            and variable is not table._step
        ]
    return table_state.restore(
        table, table._step, dict(zip(parts, tensors, strict=True)), ready
    )
