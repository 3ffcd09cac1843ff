"""Finds tables in a checkpoint by name, whoever saved it.

Keras and `tf.train.Checkpoint` key what they save by the way to an object,
Estimators and other savers of graphs by its name. The parts of a table are the
same, and one of them, the layout, ends with the table's name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf import table_checkpoint
from monolith_tf.errors import CheckpointError
from monolith_tf.graph_tables import ATTRIBUTES
from monolith_tf.graph_tables import READY
from monolith_tf.table_set import tables_of

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
        name = table_checkpoint.name_in(reader.get_tensor(key).decode())
        if name is not None:
            found.setdefault(name, key[: -len("layout")])
    return found


def restore_tables(
    model,
    path: str | os.PathLike,
    names: Mapping[str, str] | None = None,
) -> None:
    """Puts the rows of a checkpoint in place of those of a model's tables.

    Tables are found by name, so that it does not matter whether Keras, a
    `tf.train.Checkpoint` or an Estimator saved them, on how many servers.

    Args:
        model: A tf_keras model or layer, an `mt.Table`, or a list of these.
        path: Prefix of the checkpoint, or its folder.
        names: Name of a table of the model to that in the checkpoint, where
            they differ.

    Raises:
        CheckpointError: The checkpoint lacks a table, or its rows do not fit.

    Example:
    >>> import tempfile
    >>> import monolith_tf as mt
    >>> config = mt.TableConfig("movie", dim=1)
    >>> with mt.TableSet():
    ...     saved = mt.Table(config)
    >>> with mt.TableSet():
    ...     restored = mt.Table(config)
    >>> saved.assign([7], [[0.5]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = tf.train.Checkpoint(any_name=saved).write(f"{folder}/one")
    ...     restore_tables(restored, path)
    >>> restored.lookup([7]).numpy()
    array([[0.5]], dtype=float32)
    """
    names = names or {}
    tables: Sequence = tables_of(model)
    for table in tables:
        restore_op(table, path, names.get(table.name, table.name))


def restore_op(table, path: str | os.PathLike, name: str):
    """Restores one table; in a graph, returns the operation that does."""
    path = checkpoint_path(path)
    found = tables_in_checkpoint(path)
    if name not in found:
        raise CheckpointError(
            f"The checkpoint {path!r} has no table {name!r}. It has "
            f"{sorted(found)}. Map the names where they differ; a checkpoint "
            "of before tables had names in it restores by "
            "tf.train.Checkpoint(...).restore, as it was saved."
        )
    reader = tf.train.load_checkpoint(path)
    dtypes = reader.get_variable_to_dtype_map()
    parts = sorted(
        key[len(found[name]) :] for key in dtypes if key.startswith(found[name])
    )
    tensors = tf.raw_ops.RestoreV2(
        prefix=path,
        tensor_names=[found[name] + part for part in parts],
        shape_and_slices=[""] * len(parts),
        dtypes=[dtypes[found[name] + part] for part in parts],
    )
    ready: Sequence = ()
    if table.table_set.graph is not None:
        ready = [
            variable
            for variable in table.table_set.graph.get_collection(READY)
            if variable.op.name.split("/")[-2] == table.name
            and variable is not table._step
        ]
    return table_checkpoint.restore(
        table, table._step, dict(zip(parts, tensors, strict=True)), ready
    )
