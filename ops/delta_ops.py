"""Ops that cut deltas and return the state of a table set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from monolith_tf.ops.library import library


class TakenDelta(NamedTuple):
    """A delta of one shard.

    Attributes:
        generation: int64 scalar, the generation of the table set.
        from_cut: int64 scalar; the delta holds the changes after this cut,
        to_cut: int64 scalar, up to this cut.
        ids: Per table int64 `[n]`.
        exists: Per table bool `[n]`; False for a row that was removed.
        rows: Per table float32 `[n, dim]`; zeros for a row that was removed.
    """

    generation: tf.Tensor
    from_cut: tf.Tensor
    to_cut: tf.Tensor
    ids: list[tf.Tensor]
    exists: list[tf.Tensor]
    rows: list[tf.Tensor]


# Limit of the log of changed ids per server: 256 MiB.
MAX_LOG_BYTES = 256 << 20


def start_deltas(
    handle: tf.Tensor,
    *,
    max_log_bytes: int = MAX_LOG_BYTES,
    name: str | None = None,
) -> tf.Tensor:
    """Starts to log the ids that change, in every table of a table set.

    Mutates the logs. Calling it again sets the limit of the log and nothing
    else. When the logged ids and those that were taken but not acknowledged
    take more memory, all of them are dropped: `take_delta` then fails with
    OutOfRange until its reader starts from a new export.

    Args:
        handle: The table set, a resource scalar.
        max_log_bytes: Limit of the log on this server.
        name: Name of the op.

    Returns:
        int64 scalar, the cut reached; deltas hold the changes after it.
    """
    return library.monolith_start_deltas(
        handle, max_log_bytes=max_log_bytes, name=name
    )


def stop_deltas(
    handle: tf.Tensor, *, name: str | None = None
) -> tf.Operation | None:
    """Stops to log the ids that change, and drops the log.

    Mutates the logs. Does nothing if changes are not logged. No delta can be
    taken until the log is started again, from a new export.

    Args:
        handle: The table set, a resource scalar.
        name: Name of the op.
    """
    return library.monolith_stop_deltas(handle, name=name)


def take_delta(
    handle: tf.Tensor,
    acked_cut: tf.Tensor,
    *,
    tables: Sequence[str],
    dims: Sequence[int],
    name: str | None = None,
) -> TakenDelta:
    """Advances the cut and reads the ids that changed after `acked_cut`.

    Mutates the cut and the logs. Blocks while it copies the rows; updates
    continue meanwhile. Changes above `acked_cut` that an earlier call returned
    are returned again, so a lost reply loses nothing. The ids of a table are
    distinct and sorted. Fails with OutOfRange if the changes after `acked_cut`
    are not here: the log forgot them, or the cut is of a former life of this
    server.

    Args:
        handle: The table set, a resource scalar.
        acked_cut: int64 scalar, the last cut whose delta is safe.
        tables: Names of the tables.
        dims: Row length of each table.
        name: Name of the op.

    Returns:
        The `TakenDelta` of the shard.

    Raises:
        tf.errors.OutOfRangeError: The changes after `acked_cut` are not here.
        tf.errors.ResourceExhaustedError: No cut is left.
    """
    return TakenDelta(
        *library.monolith_take_delta(
            handle,
            acked_cut,
            tables=list(tables),
            dims=list(dims),
            num_tables=len(tables),
            name=name,
        )
    )


def renew(
    handle: tf.Tensor, generation: int, *, name: str | None = None
) -> tf.Operation | None:
    """Gives a table set a new generation, as after a restore.

    Mutates the table set. Drops the pending deltas and the known request ids of
    the old generation. Readers of its deltas start from a new export.

    Args:
        handle: The table set, a resource scalar.
        generation: Positive int63; 0 draws a random one each time the op runs.
        name: Name of the op.
    """
    return library.monolith_renew(handle, generation=generation, name=name)


def table_set_status(
    handle: tf.Tensor, *, name: str | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads the generation and the cut of this server's table set.

    Does not block and changes nothing.

    Args:
        handle: The table set, a resource scalar.
        name: Name of the op.

    Returns:
        The generation and the cut, int64 scalars.
    """
    return library.monolith_table_set_status(handle, name=name)
