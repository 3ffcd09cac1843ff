"""Ops on one server's table set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from monolith_tf.ops.library import library

# The fields of ops/cc/table/table_stats.h, in their order.
STATS = (
    "num_rows",
    "num_counted",
    "num_admitted",
    "num_written",
    "num_expired",
    "num_capped",
    "num_removed",
    "num_rejected",
    "num_bad_gradients",
    "row_bytes",
    "arena_bytes",
    "index_bytes",
    "counter_bytes",
    "sketch_bytes",
    "log_bytes",
    "pretrained_bytes",
    "pool_bytes",
    "idle_bytes",
    "huge_page_bytes",
    "index_entries",
    "index_slots",
    "index_stash",
    "probed_entries",
    "probed_in_first",
)


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
    config: Any,
    shard: int,
    num_shards: int,
    generation: int,
) -> tf.Operation | None:
    """Creates a table, and its table set if there is none yet.

    Args:
        handle: Of the table set.
        config: `mt.TableConfig`. A table of its name and an equal config is
            left as it is.
        shard: Which shard of `num_shards` this server is.
        num_shards: Number of servers.
        generation: Positive int63 of a new table set; else not used.

    Raises:
        tf.errors.InvalidArgumentError: There is a table of that name with
            another config, or the set is another shard.
    """
    segments = config.segments
    attributes = {
        "regularizations": [
            number
            for segment in segments
            for number in segment.optimizer.regularization
        ]
    }
    for kinds, counts, numbers, parts in (
        (
            "optimizers",
            "num_hyperparameters",
            "hyperparameters",
            [(s.optimizer.kind, s.optimizer.hyperparameters) for s in segments],
        ),
        (
            "initializers",
            "num_initializer_parameters",
            "initializer_parameters",
            [(s.initializer.kind, s.initializer.parameters) for s in segments],
        ),
        (
            "precisions",
            "num_precision_parameters",
            "precision_parameters",
            [(s.precision.kind, s.precision.parameters) for s in segments],
        ),
    ):
        attributes[kinds] = [kind for kind, _ in parts]
        attributes[counts] = [len(values) for _, values in parts]
        attributes[numbers] = [value for _, values in parts for value in values]
    admission = config.admission
    # Where nothing is counted, a window says nothing.
    window_seconds = 0 if admission.kind == "all" else admission.window_seconds
    eviction = config.eviction
    seed = config.seed
    return library.monolith_table_create(
        handle,
        table=config.name,
        dims=[segment.dim for segment in segments],
        **attributes,
        seed=seed - (1 << 64) if seed >= 1 << 63 else seed,
        admission=admission.kind,
        min_count=admission.min_count,
        probability=(
            1.0 if admission.probability is None else admission.probability
        ),
        sketch_bytes=admission.sketch_bytes,
        window_seconds=window_seconds,
        reads_zeros=admission.unadmitted == "zeros",
        ttl_seconds=eviction.ttl_seconds,
        max_rows=eviction.share(shard, num_shards, "max_rows"),
        max_bytes=eviction.share(shard, num_shards, "max_bytes"),
        policy=eviction.policy,
        tracks_changes=config.tracks_changes,
        initial_capacity=config.capacity_share(num_shards),
        shard=shard,
        num_shards=num_shards,
        generation=generation,
    )


def set_pretrained(
    handle: tf.Tensor,
    ids: tf.Tensor,
    rows: tf.Tensor,
    *,
    table: str,
    segment: int,
) -> tf.Operation | None:
    """Gives a segment of a table the rows that some ids start from.

    Args:
        handle: Of the table set.
        ids: int64 `[n]`, distinct.
        rows: float32 `[n, dim of the segment]`, finite.
        table: Its name.
        segment: Which segment.
    """
    return library.monolith_set_pretrained(
        handle, ids, rows, table=table, segment=segment
    )


def table_drop(handle: tf.Tensor, table: str) -> tf.Operation | None:
    """Drops a table and frees its rows.

    Does nothing where the server does not have the table, or the table set.
    """
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
            0, ..., counts of table 0, ...]`; `with_request` puts a request id
            above the event time.
        values: float32 `[learning rates of the segments of table 0, ...,
            gradients of table 0, ...]`.
        tables: Names of the T tables.
        dims: Their row lengths.

    Raises:
        tf.errors.InvalidArgumentError: Nothing was changed.
    """
    return library.monolith_apply(
        handle, packed, values, tables=list(tables), dims=list(dims)
    )


def assign(
    handle: tf.Tensor,
    ids: tf.Tensor,
    rows: tf.Tensor,
    event_time: tf.Tensor,
    *,
    table: str,
) -> tf.Operation | None:
    """Sets weights.

    Args:
        handle: Of the table set.
        ids: int64 `[n]`.
        rows: float32 `[n, dim]`.
        event_time: int64 scalar, seconds since the epoch.
        table: Its name.
    """
    return library.monolith_assign(handle, ids, rows, event_time, table=table)


def remove(handle: tf.Tensor, ids: tf.Tensor, *, table: str) -> tf.Tensor:
    """Removes rows of ids int64 `[n]`; returns how many there were, int64."""
    return library.monolith_remove(handle, ids, table=table)


def clear(handle: tf.Tensor, *, table: str) -> tf.Operation | None:
    """Removes every row of a table."""
    return library.monolith_clear(handle, table=table)


def size(handle: tf.Tensor, *, table: str) -> tf.Tensor:
    """Returns the number of rows of a table on this server, int64 scalar."""
    return library.monolith_size(handle, table=table)


def sweep(handle: tf.Tensor, event_time: tf.Tensor, *, table: str) -> tf.Tensor:
    """Evicts what is due and gives memory back.

    Args:
        handle: Of the table set.
        event_time: int64 scalar, seconds since the epoch.
        table: Its name.

    Returns:
        int64 scalar, how many rows went.
    """
    return library.monolith_sweep(handle, event_time, table=table)


def stats(handle: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what the tables of this server tell about themselves.

    Returns:
        tables string `[T]`, ordered, and stats int64 `[T, len(STATS)]`, the
        numbers that `STATS` names.
    """
    return library.monolith_stats(handle)


def with_request(event_time: tf.Tensor, request: tf.Tensor) -> tf.Tensor:
    """Puts a request id above the event time of an update.

    Args:
        event_time: int64 scalar. One that is out of range is left as it is, for
            the server to refuse.
        request: int64 scalar, 0 to 2^30 - 1.

    Returns:
        int64 scalar, what `apply` takes in place of the event time.
    """
    stamped = event_time + (1 << 62) + request * (1 << 32)
    is_time = (event_time >= 0) & (event_time < 1 << 32)
    return tf.where(is_time, stamped, event_time)


def request_counts(handle: tf.Tensor) -> tf.Tensor:
    """Returns int64 `[2]`: updates that this server took, and dropped.

    Dropped are those whose request id it had taken before.
    """
    return library.monolith_request_counts(handle)


def server_counters() -> tf.Tensor:
    """Returns what lookups and updates in this process have done.

    Returns:
        int64 `[2, 5]`: of lookup, then of apply, calls, ids, bytes in and out,
        nanoseconds inside the op, calls that are inside it now.
    """
    return library.monolith_server_counters()


def worker_counters() -> tf.Tensor:
    """Returns where the time of steps that this process ran has gone.

    Returns:
        int64 `[4]`: lookups, nanoseconds from ids to vectors, steps that had
        gradients, nanoseconds from vectors to gradients.
    """
    return library.monolith_worker_counters()


def export_chunk(
    handle: tf.Tensor,
    cursor: tf.Tensor,
    *,
    table: str,
    max_rows: int,
    values: bool = False,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads some whole rows, from cursor 0 until the next cursor is -1.

    Args:
        handle: Of the table set.
        cursor: int64 scalar.
        table: Its name.
        max_rows: The most rows of a chunk.
        values: Whether rows are what lookups return, `[n, dim]`.

    Returns:
        ids int64 `[n]`, stamps int64 `[n]` (seconds of the last update plus
        2^32 times the frequency), rows float32 `[n, row_width]`, next_cursor
        int64 scalar.
    """
    return library.monolith_export_chunk(
        handle, cursor, table=table, max_rows=max_rows, values=values
    )


def read_clock(handle: tf.Tensor, *, table: str) -> tf.Tensor:
    """Returns int64 `[2]`: the latest update's number and event time."""
    return library.monolith_read_clock(handle, table=table)


def set_clock(
    handle: tf.Tensor, clock: tf.Tensor, *, table: str
) -> tf.Operation | None:
    """Sets what `read_clock` returns, back too."""
    return library.monolith_set_clock(handle, clock, table=table)


def export_groups(
    handle: tf.Tensor, *, table: str, first_group: int, num_groups: int
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Reads the whole rows of consecutive checkpoint groups.

    Returns:
        Per group keys int64 `[n, 2]` (id, stamp), and per group rows float32
        `[n, row_width]`.
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


def export_filter(
    handle: tf.Tensor, *, table: str, first_group: int, num_groups: int
) -> list[tf.Tensor]:
    """Reads what admission remembers of consecutive checkpoint groups.

    Returns:
        Per group int64 `[n]`, empty where it is nothing.
    """
    return library.monolith_export_filter(
        handle, table=table, first_group=first_group, num_groups=num_groups
    )


def import_filter(
    handle: tf.Tensor, words: tf.Tensor, *, table: str, group: int
) -> tf.Operation | None:
    """Puts what `export_filter` gave for a group together with what is there.

    Args:
        handle: Of the table set.
        words: int64 `[n]`; ids that another shard owns are passed over.
        table: Its name.
        group: Which group.
    """
    return library.monolith_import_filter(
        handle, words, table=table, group=group
    )
