"""Ops that write and read the parts of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from monolith_tf.ops.library import library


class SnapshotMoment(NamedTuple):
    """The moment of a snapshot on one server.

    Attributes:
        generation: int64 scalar, the generation of the table set.
        from_cut: int64 scalar, the cut of the parent; -1 for a full snapshot.
        to_cut: int64 scalar, the cut of the snapshot.
    """

    generation: tf.Tensor
    from_cut: tf.Tensor
    to_cut: tf.Tensor


def snapshot_begin(
    handle: tf.Tensor, parent_cut: tf.Tensor, *, name: str | None = None
) -> SnapshotMoment:
    """Takes the moment of a snapshot of this server's tables.

    Advances the cut, starts to log the ids that change, and drops a snapshot
    that was begun and never written. Rows that change from now on are copied
    first, until `snapshot_write` has written them. Fails with OutOfRange if the
    changes after parent_cut are not known any more, as after a restart of the
    server. Take a full snapshot then.

    Args:
        handle: The table set, a resource scalar.
        parent_cut: int64 scalar, the cut of the durable snapshot that this one
            continues; -1 for a full snapshot.
        name: Name of the op.
    """
    return SnapshotMoment(
        *library.monolith_snapshot_begin(handle, parent_cut, name=name)
    )


def snapshot_write(
    handle: tf.Tensor,
    path: tf.Tensor,
    snapshot_id: tf.Tensor,
    *,
    name: str | None = None,
) -> tf.Tensor:
    """Writes the snapshot that was begun to a part file, and makes it durable.

    Lookups and updates continue meanwhile. Uses threads of its own and bounded
    buffers. The file is complete only if the op succeeds.

    Args:
        handle: The table set, a resource scalar.
        path: The file, a string scalar. It is replaced if it exists; its
            folders are made.
        snapshot_id: 16 bytes that name the snapshot, a string scalar.
        name: Name of the op.

    Returns:
        int64 `[5]`: size of the file in bytes, its CRC32C, its rows, its
        removed ids, and the most bytes that copies of changed rows took.
    """
    return library.monolith_snapshot_write(handle, path, snapshot_id, name=name)


def snapshot_abort(
    handle: tf.Tensor, *, name: str | None = None
) -> tf.Operation | None:
    """Drops the snapshot that was begun, and stops the one being written.

    Its changes belong to the next snapshot. Does nothing if there is none.

    Args:
        handle: The table set, a resource scalar.
        name: Name of the op.
    """
    return library.monolith_snapshot_abort(handle, name=name)


def snapshot_read(
    handle: tf.Tensor,
    path: tf.Tensor,
    *,
    tables: Sequence[str] = (),
    reads_state: bool = True,
    name: str | None = None,
) -> tf.Tensor:
    """Reads from a part file the rows that this server owns.

    Sets rows and removes those that an increment removed; others stay. Fails
    with InvalidArgument before anything changes if a table does not fit, and
    with DataLoss if the file is damaged.

    Args:
        handle: The table set, a resource scalar.
        path: The file, a string scalar.
        tables: Names of the tables to read; all of the file if empty.
        reads_state: Whether to read clocks and admission counts too; those of
            the last file of a chain hold.
        name: Name of the op.

    Returns:
        int64 `[2]`: numbers of rows that were set and removed.
    """
    return library.monolith_snapshot_read(
        handle, path, tables=list(tables), reads_state=reads_state, name=name
    )
