"""Restores tables by name from a checkpoint of Keras or an Estimator."""

from __future__ import annotations

import os
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence

from monolith_tf.checkpoint import layout
from monolith_tf.checkpoint import table_state
from monolith_tf.checkpoint.restore_scope import TableRestore
from monolith_tf.checkpoint.restore_scope import restoring
from monolith_tf.checkpoint.saved_tables import SavedTable
from monolith_tf.checkpoint.saved_tables import checkpoint_path
from monolith_tf.checkpoint.table_rows import set_weights
from monolith_tf.errors import CheckpointError
from monolith_tf.placement.registry import tables_of
from monolith_tf.placement.table_handle import TableHandle


def restore_tables(
    model,
    path: str | os.PathLike,
    names: Mapping[str, str] | None = None,
    *,
    only: Collection[str] | None = None,
    slots: bool = True,
) -> None:
    """Replaces the rows of a model's tables by those of a checkpoint.

    Tables are found by name. Keras (`save_weights` in TensorFlow's format),
    `tf.train.Checkpoint` or an Estimator may have saved them, on any number of
    servers. Nothing changes unless all tables fit.

    Args:
        model: A Keras model or layer, an `mt.Table`, or a list of these.
        path: Prefix of the checkpoint, or its folder.
        names: Name of a table of the model to its name in the checkpoint, where
            they differ.
        only: Names of the tables of the model to restore; the others do not
            change. Default: all.
        slots: True restores everything: slots, times, steps and the counts of
            admission. False sets the weights alone, as `Table.assign` does:
            slots are initial, times are now, and admission does not apply. Then
            only the dims need to be equal; optimizers may differ.

    Raises:
        CheckpointError: The checkpoint lacks a table, or its rows do not fit.
        ValueError: The model has no table, `names` or `only` name a table that
            the model lacks, or slots=False is used in a graph.

    Example:
    >>> import tempfile
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
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
            f"restore_tables needs a model with a table. Received: {model!r}."
        )
    _check_names(tables, "names", names)
    if only is not None:
        _check_names(tables, "only", only)
        tables = [table for table in tables if table.name in only]
    if not slots and any(t.table_set.graph is not None for t in tables):
        raise ValueError(
            "restore_tables with slots=False does not support tables of a "
            "graph. Leave slots=False out, or restore before the graph is "
            "built."
        )
    path = checkpoint_path(path)
    saved = [
        SavedTable.find(path, names.get(table.name, table.name))
        for table in tables
    ]
    for table, found in zip(tables, saved, strict=True):
        if slots:
            layout.check_fits(table, found.layout, found.filter)
        else:
            _check_dims(table, found)
    with restoring():
        for table, found in zip(tables, saved, strict=True):
            if slots:
                table_state.restore(table, found.tensors())
            else:
                _set_weights(table, found)


def restore_table(table: TableHandle, path: str | os.PathLike, name: str):
    """Restores one table of the graph that is built.

    Args:
        table: A table of the graph.
        path: Prefix of a checkpoint, or a folder.
        name: Name of the table in the checkpoint.

    Returns:
        The tensor that restores the table when it is run.
    """
    found = SavedTable.find(checkpoint_path(path), name)
    return table_state.restore(table, found.tensors())


def _set_weights(table: TableHandle, found: SavedTable) -> None:
    of_table = TableRestore(table)
    of_table.begin()
    table.clear()
    for ids, rows in found.weights():
        set_weights(table, ids, rows)
    of_table.end()


def _check_names(tables, argument: str, names: Collection[str]) -> None:
    if isinstance(names, str):
        raise ValueError(
            f"{argument} must be a collection of names. Received: {names!r}."
        )
    known = [table.name for table in tables]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(
            f"{argument} names {unknown}. Expected tables of the model: "
            f"{known}."
        )


def _check_dims(table: TableHandle, found: SavedTable) -> None:
    expected = [segment.dim for segment in table.config.segments]
    if found.dims != expected:
        raise CheckpointError(
            f"The weights of table {found.name!r} of the checkpoint do not "
            f"fit table {table.name!r}, whose segments have the dims "
            f"{expected}. The checkpoint has {found.dims}. Nothing was "
            "restored; make a table of those dims."
        )
