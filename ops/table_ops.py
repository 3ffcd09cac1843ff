"""Ops on one server's table set."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.ops.library import library


def table_set_handle(shared_name: str) -> tf.Tensor:
    """Names a table set on the current device, which need not exist yet.

    Args:
        shared_name: The table set's name, unique on the server.

    Returns:
        Scalar of dtype resource.
    """
    return library.monolith_table_set_handle(shared_name=shared_name)


def table_create(
    handle: tf.Tensor,
    *,
    table: str,
    dim: int,
    optimizer: str,
    hyperparameters: Sequence[float],
    initializer: str,
    initializer_parameters: Sequence[float],
    seed: int,
    shard: int,
    num_shards: int,
    generation: int,
    regularization: Sequence[float] = (),
) -> tf.Operation | None:
    """Creates a table, and its table set if there is none yet.

    Args:
        handle: Of the table set.
        table: Name of the table. One of that name and an equal config is left
            as it is.
        dim: Row length.
        optimizer: Its kind: "sgd", "adagrad", "adam", ...
        hyperparameters: Of the optimizer, in its order.
        initializer: "zeros", "constant", "uniform" or "truncated_normal".
        initializer_parameters: Of the initializer, in its order.
        seed: 0 to 2^64 - 1.
        shard: Which shard of `num_shards` this server is.
        num_shards: Number of servers.
        generation: Positive int63 of a new table set; else not used.
        regularization: Weight decay, l2, clip value, clip norm, max norm of the
            optimizer, 0 for none; or empty.

    Raises:
        tf.errors.InvalidArgumentError: There is a table of that name with
            another config, or the set is another shard.
    """
    return library.monolith_table_create(
        handle,
        table=table,
        dim=dim,
        optimizer=optimizer,
        hyperparameters=list(hyperparameters),
        initializer=initializer,
        initializer_parameters=list(initializer_parameters),
        seed=seed - (1 << 64) if seed >= 1 << 63 else seed,
        shard=shard,
        num_shards=num_shards,
        generation=generation,
        regularization=list(regularization),
    )


def table_drop(handle: tf.Tensor, table: str) -> tf.Operation | None:
    """Drops a table and frees its rows."""
    return library.monolith_table_drop(handle, table=table)


def lookup(
    handle: tf.Tensor,
    packed: tf.Tensor,
    *,
    tables: Sequence[str],
    dims: Sequence[int],
) -> tf.Tensor:
    """Reads rows of several tables; an unseen id reads its initial row.

    Args:
        handle: Of the table set.
        packed: int64 `[n_0, ..., n_{T-1}, ids of table 0, ...]`.
        tables: Names of the T tables.
        dims: Their row lengths.

    Returns:
        float32, flat: rows of table 0 `[n_0 * dim_0]`, then of table 1, ...

    Raises:
        tf.errors.FailedPreconditionError: The server does not hold a table.
    """
    return library.monolith_lookup(
        handle, packed, tables=list(tables), dims=list(dims)
    )


def lookup_with_exists(
    handle: tf.Tensor, ids: tf.Tensor, *, table: str, dim: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads rows of one table and tells which ids have one.

    Args:
        handle: Of the table set.
        ids: int64 `[n]`.
        table: Its name.
        dim: Its row length.

    Returns:
        rows float32 `[n, dim]` and exists bool `[n]`.
    """
    return library.monolith_lookup_with_exists(
        handle, ids, table=table, dim=dim
    )


def apply(
    handle: tf.Tensor,
    packed: tf.Tensor,
    values: tf.Tensor,
    *,
    tables: Sequence[str],
    dims: Sequence[int],
) -> tf.Operation | None:
    """Runs each table's optimizer once for every id named.

    Args:
        handle: Of the table set.
        packed: int64 `[global_step, event_time, n_0, ..., n_{T-1}, ids of table
            0, ..., counts of table 0, ...]`.
        values: float32 `[learning_rate_0, ..., gradients of table 0, ...]`.
        tables: Names of the T tables.
        dims: Their row lengths.

    Raises:
        tf.errors.InvalidArgumentError: Nothing was changed.
    """
    return library.monolith_apply(
        handle, packed, values, tables=list(tables), dims=list(dims)
    )


def assign(
    handle: tf.Tensor, ids: tf.Tensor, rows: tf.Tensor, *, table: str
) -> tf.Operation | None:
    """Sets weights: ids int64 `[n]`, rows float32 `[n, dim]`."""
    return library.monolith_assign(handle, ids, rows, table=table)


def remove(handle: tf.Tensor, ids: tf.Tensor, *, table: str) -> tf.Tensor:
    """Removes rows of ids int64 `[n]`; returns how many there were, int64."""
    return library.monolith_remove(handle, ids, table=table)


def clear(handle: tf.Tensor, *, table: str) -> tf.Operation | None:
    """Removes every row of a table."""
    return library.monolith_clear(handle, table=table)


def size(handle: tf.Tensor, *, table: str) -> tf.Tensor:
    """Returns the number of rows of a table on this server, int64 scalar."""
    return library.monolith_size(handle, table=table)


def memory_bytes(handle: tf.Tensor, *, table: str) -> tf.Tensor:
    """Returns the bytes that a table takes on this server, int64 scalar."""
    return library.monolith_memory_bytes(handle, table=table)


def export_chunk(
    handle: tf.Tensor, cursor: tf.Tensor, *, table: str, max_rows: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads some whole rows, from cursor 0 until the next cursor is -1.

    Returns:
        ids int64 `[n]`, last_update int64 `[n]` seconds, rows float32
        `[n, row_width]`, next_cursor int64 scalar.
    """
    return library.monolith_export_chunk(
        handle, cursor, table=table, max_rows=max_rows
    )


def export_groups(
    handle: tf.Tensor, *, table: str, first_group: int, num_groups: int
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Reads the whole rows of consecutive checkpoint groups.

    Returns:
        Per group keys int64 `[n, 2]` (id, seconds of the last update), and per
        group rows float32 `[n, row_width]`.
    """
    return library.monolith_export_groups(
        handle, table=table, first_group=first_group, num_groups=num_groups
    )


def import_rows(
    handle: tf.Tensor, keys: tf.Tensor, rows: tf.Tensor, *, table: str
) -> tf.Operation | None:
    """Sets whole rows; those that another shard owns are passed over.

    Args:
        handle: Of the table set.
        keys: int64 `[n, 2]`, as `export_groups` gives them.
        rows: float32 `[n, row_width]`.
        table: Its name.
    """
    return library.monolith_import(handle, keys, rows, table=table)
