"""Ops that create, read and change one table of a server's table set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from monolith_tf.ops.library import library


def table_set_handle(shared_name: str, *, name: str | None = None) -> tf.Tensor:
    """Returns a handle of a table set on the op's device.

    Never blocks and changes nothing: the table set need not exist, and the op
    does not create it.

    Args:
        shared_name: Name of the table set, unique on the server.
        name: Name of the op.

    Returns:
        The handle, a resource scalar.
    """
    return library.monolith_table_set_handle(shared_name=shared_name, name=name)


def table_create(
    handle: tf.Tensor,
    *,
    attributes: Mapping[str, Any],
    generation: int,
    name: str | None = None,
) -> tf.Operation | None:
    """Creates a table, and the table set of this server if there is none.

    Mutates the server. A table of the same name with an equal config stays
    unchanged; configs that differ only in their initial capacity are equal.
    Fails with InvalidArgument, showing both, if the table has another config or
    the server is another shard.

    Args:
        handle: The table set, a resource scalar.
        attributes: The other attributes of MonolithTableCreate by name, plain
            values. `mt.TableConfig.op_attributes` makes them.
        generation: Positive int63, the generation of a table set that the op
            creates; 0 draws a random one each time the op runs.
        name: Name of the op.

    Raises:
        tf.errors.InvalidArgumentError: The config is not valid, the table has
            another config, or the server is another shard.
        tf.errors.ResourceExhaustedError: The server has too little memory for
            the initial capacity.
    """
    return library.monolith_table_create(
        handle, **attributes, generation=generation, name=name
    )


def table_drop(
    handle: tf.Tensor, table: str, *, name: str | None = None
) -> tf.Operation | None:
    """Drops a table and frees its rows.

    Mutates the server. Does not wait for ops that run on the table: memory is
    freed when they finish. Does nothing where the server does not have the
    table, or the table set.

    Args:
        handle: The table set, a resource scalar.
        table: Name of the table.
        name: Name of the op.
    """
    return library.monolith_table_drop(handle, table=table, name=name)


def set_pretrained(
    handle: tf.Tensor,
    ids: tf.Tensor,
    rows: tf.Tensor,
    *,
    table: str,
    segment: int,
    name: str | None = None,
) -> tf.Operation | None:
    """Sets the rows that some ids of a table start from, in one segment.

    Mutates initial rows, but no row that exists. Call it after `table_create`.
    Other ids start from the segment's initializer. Fails with InvalidArgument
    for duplicate ids and for numbers that are not finite.

    Args:
        handle: The table set, a resource scalar.
        ids: int64 `[n]`, distinct.
        rows: float32 `[n, dim of the segment]`, finite.
        table: Name of the table.
        segment: Index of the segment.
        name: Name of the op.
    """
    return library.monolith_set_pretrained(
        handle, ids, rows, table=table, segment=segment, name=name
    )


def lookup_with_exists(
    handle: tf.Tensor,
    ids: tf.Tensor,
    *,
    table: str,
    dim: int,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads rows of one table, and whether each id has a row.

    Does not block and changes nothing. An unknown id reads its initial row, or
    zeros if the table's admission says so, and is not inserted. A duplicate id
    is read once per occurrence. Rows keep the order of the ids.

    Args:
        handle: The table set, a resource scalar.
        ids: int64 `[n]`.
        table: Name of the table.
        dim: Its row length.
        name: Name of the op.

    Returns:
        The rows float32 `[n, dim]` and whether each exists, bool `[n]`: False
        for an unknown id.
    """
    return library.monolith_lookup_with_exists(
        handle, ids, table=table, dim=dim, name=name
    )


def assign(
    handle: tf.Tensor,
    ids: tf.Tensor,
    rows: tf.Tensor,
    event_time: tf.Tensor,
    *,
    table: str,
    in_restore: bool = False,
    name: str | None = None,
) -> tf.Operation | None:
    """Sets the weights of rows.

    Mutates the table. An unknown id is inserted with initial optimizer slots,
    whatever its admission. A known id keeps its slots. The last row of a
    duplicate id holds.

    Args:
        handle: The table set, a resource scalar.
        ids: int64 `[n]`.
        rows: float32 `[n, dim]`.
        event_time: int64 scalar, seconds since the epoch.
        table: Name of the table.
        in_restore: True for rows that a restore sets, while it runs.
        name: Name of the op.
    """
    return library.monolith_assign(
        handle,
        ids,
        rows,
        event_time,
        table=table,
        in_restore=in_restore,
        name=name,
    )


def remove(
    handle: tf.Tensor,
    ids: tf.Tensor,
    *,
    table: str,
    name: str | None = None,
) -> tf.Tensor:
    """Removes rows with their optimizer slots, and counts them.

    Mutates the table. Skips unknown ids, and the repetitions of duplicate ids.

    Args:
        handle: The table set, a resource scalar.
        ids: int64 `[n]`.
        table: Name of the table.
        name: Name of the op.

    Returns:
        int64 scalar, the number of rows that were removed.
    """
    return library.monolith_remove(handle, ids, table=table, name=name)


def clear(
    handle: tf.Tensor, *, table: str, name: str | None = None
) -> tf.Operation | None:
    """Removes every row of a table.

    Mutates the table. Counts and sketches of its admission filter are cleared
    too.

    Args:
        handle: The table set, a resource scalar.
        table: Name of the table.
        name: Name of the op.
    """
    return library.monolith_clear(handle, table=table, name=name)


def size(
    handle: tf.Tensor, *, table: str, name: str | None = None
) -> tf.Tensor:
    """Returns the number of rows of a table on this server.

    Does not block and changes nothing.

    Args:
        handle: The table set, a resource scalar.
        table: Name of the table.
        name: Name of the op.

    Returns:
        int64 scalar.
    """
    return library.monolith_size(handle, table=table, name=name)


def sweep(
    handle: tf.Tensor,
    event_time: tf.Tensor,
    *,
    table: str,
    name: str | None = None,
) -> tf.Tensor:
    """Evicts expired rows and rows above the capacity limit.

    Mutates the table, and returns free memory to the system. Lookups and
    updates continue meanwhile. The clock of the table is the latest event time
    that it has seen, this one included.

    Args:
        handle: The table set, a resource scalar.
        event_time: int64 scalar, seconds since the epoch.
        table: Name of the table.
        name: Name of the op.

    Returns:
        int64 scalar, the number of rows that were evicted.
    """
    return library.monolith_sweep(handle, event_time, table=table, name=name)
