"""Ops that export and import the state of a table: rows, filter, clock."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.ops.library import library


def export_chunk(
    handle: tf.Tensor,
    cursor: tf.Tensor,
    *,
    table: str,
    max_rows: int,
    values: bool = False,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads the rows of a table, some per call.

    Changes nothing. Start with cursor 0 and continue with each next cursor
    until that is -1. A row that exists during the whole export is read exactly
    once, whatever happens to other rows. The order is the table's own.

    Args:
        handle: The table set, a resource scalar.
        cursor: int64 scalar.
        table: Name of the table.
        max_rows: The largest n.
        values: True for the rows that lookups return, `[n, dim]`.
        name: Name of the op.

    Returns:
        The ids int64 `[n]`, the stamps int64 `[n]` (seconds of the last update
        plus 2^32 times the frequency), the rows float32 `[n, row_width]`
        (weights, then optimizer slots) and the next cursor, int64 scalar.
    """
    return library.monolith_export_chunk(
        handle, cursor, table=table, max_rows=max_rows, values=values, name=name
    )


def export_groups(
    handle: tf.Tensor,
    *,
    table: str,
    first_group: int,
    num_groups: int,
    name: str | None = None,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Reads the whole rows of consecutive checkpoint groups.

    Changes nothing. The order within a group is the table's own.

    Args:
        handle: The table set, a resource scalar.
        table: Name of the table.
        first_group: The first of the groups, 0 to 63.
        num_groups: Number of groups.
        name: Name of the op.

    Returns:
        Per group keys int64 `[n, 2]` (id and stamp, see `export_chunk`), and
        per group rows float32 `[n, row_width]` (weights, then optimizer slots).
    """
    return library.monolith_export_groups(
        handle,
        table=table,
        first_group=first_group,
        num_groups=num_groups,
        name=name,
    )


def import_rows(
    handle: tf.Tensor,
    keys: tf.Tensor,
    rows: tf.Tensor,
    *,
    table: str,
    name: str | None = None,
) -> tf.Operation | None:
    """Sets whole rows that `export_groups` returned.

    Mutates the table. Skips the ids that another shard owns, so every shard may
    get the same group. An unknown id is inserted, whatever its admission. Fails
    with InvalidArgument, and changes nothing, if the row width is not the
    table's.

    Args:
        handle: The table set, a resource scalar.
        keys: int64 `[n, 2]`: id and stamp.
        rows: float32 `[n, row_width]`: weights, then optimizer slots.
        table: Name of the table.
        name: Name of the op.
    """
    return library.monolith_import_rows(
        handle, keys, rows, table=table, name=name
    )


def export_filter(
    handle: tf.Tensor,
    *,
    table: str,
    first_group: int,
    num_groups: int,
    name: str | None = None,
) -> list[tf.Tensor]:
    """Reads the state of the admission filter of consecutive checkpoint groups.

    Changes nothing. A group without state is empty.

    Args:
        handle: The table set, a resource scalar.
        table: Name of the table.
        first_group: The first of the groups, 0 to 63.
        num_groups: Number of groups.
        name: Name of the op.

    Returns:
        Per group int64 `[n]`.
    """
    return library.monolith_export_filter(
        handle,
        table=table,
        first_group=first_group,
        num_groups=num_groups,
        name=name,
    )


def import_filter(
    handle: tf.Tensor,
    words: tf.Tensor,
    *,
    table: str,
    group: int,
    name: str | None = None,
) -> tf.Operation | None:
    """Adds the state that `export_filter` returned for a group to a table's.

    Mutates the admission filter. Skips the ids that another shard owns, so
    every shard may get the same group. Fails with InvalidArgument, and changes
    nothing, for the state of another kind of admission.

    Args:
        handle: The table set, a resource scalar.
        words: int64 `[n]`.
        table: Name of the table.
        group: The group, 0 to 63.
        name: Name of the op.
    """
    return library.monolith_import_filter(
        handle, words, table=table, group=group, name=name
    )


def read_clock(
    handle: tf.Tensor, *, table: str, name: str | None = None
) -> tf.Tensor:
    """Reads the latest step and event time of a table on this server.

    Does not block and changes nothing.

    Args:
        handle: The table set, a resource scalar.
        table: Name of the table.
        name: Name of the op.

    Returns:
        int64 `[2]`: step and event time, in seconds since the epoch.
    """
    return library.monolith_read_clock(handle, table=table, name=name)


def set_clock(
    handle: tf.Tensor,
    clock: tf.Tensor,
    *,
    table: str,
    in_restore: bool = False,
    name: str | None = None,
) -> tf.Operation | None:
    """Sets the clock that `read_clock` returns.

    Mutates the table. The clock may go back. A time that is more than the
    table's `max_future_seconds` ahead of the server's fails with
    InvalidArgument. In a restore it is counted and logged instead, and the rows
    that are imported set the clock.

    Args:
        handle: The table set, a resource scalar.
        clock: int64 `[2]`: step, or -1 to keep the present one, and event time,
            in seconds since the epoch.
        table: Name of the table.
        in_restore: True for the clock of a checkpoint.
        name: Name of the op.
    """
    return library.monolith_set_clock(
        handle, clock, table=table, in_restore=in_restore, name=name
    )
