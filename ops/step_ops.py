"""Ops that a training step runs on a server, once for all of its tables."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.ops.library import library


def lookup(
    handle: tf.Tensor,
    packed: tf.Tensor,
    *,
    tables: Sequence[str],
    dims: Sequence[int],
    name: str | None = None,
) -> tf.Tensor:
    """Reads rows of several tables.

    Does not block and changes nothing. An unknown id reads its initial row, or
    zeros if the table's admission says so, and is not inserted. A duplicate id
    is read once per occurrence. Rows keep the order of the ids.

    Args:
        handle: The table set, a resource scalar.
        packed: int64 `[n_0, ..., n_{T-1}, ids of table 0, ...]`.
        tables: Names of the T tables.
        dims: Row length of each table.
        name: Name of the op.

    Returns:
        float32, flat: rows of table 0 `[n_0 * dim_0]`, then of table 1, ...

    Raises:
        tf.errors.FailedPreconditionError: The server does not have a table.
    """
    return library.monolith_lookup(
        handle, packed, tables=list(tables), dims=list(dims), name=name
    )


def apply(
    handle: tf.Tensor,
    packed: tf.Tensor,
    values: tf.Tensor,
    *,
    tables: Sequence[str],
    dims: Sequence[int],
    name: str | None = None,
) -> tf.Operation | None:
    """Runs the optimizer of each table once per id.

    Mutates the tables. A row changes under a short lock of its own, so no
    reader sees half of an update. An unknown id is inserted with its initial
    row first if it is admitted; otherwise its occurrences are counted and its
    gradient is dropped. An id is skipped, and counted as a bad gradient, if an
    element of its gradient is not finite or is larger than 2^48. A duplicate id
    is updated once per occurrence, in order; `partition_gradients` makes ids
    distinct. All inputs are checked before the first row changes.

    Args:
        handle: The table set, a resource scalar.
        packed: int64 `[global_step, event_time, n_0, ..., n_{T-1}, ids of table
            0, ..., counts of table 0, ...]`; with a request id, `event_time +
            2^62, client, sequence` in place of the event time.
        values: float32 `[learning rate per segment of table 0, ..., gradients
            of table 0, ...]`.
        tables: Names of the T tables.
        dims: Row length of each table.
        name: Name of the op.

    Raises:
        tf.errors.InvalidArgumentError: An input is not valid; nothing changed.
        tf.errors.FailedPreconditionError: The server does not have a table, or
            the request is too old to know; nothing changed.
    """
    return library.monolith_apply(
        handle, packed, values, tables=list(tables), dims=list(dims), name=name
    )


def with_request(
    event_time: tf.Tensor,
    client: tf.Tensor,
    sequence: tf.Tensor,
    *,
    name: str | None = None,
) -> tf.Tensor:
    """Adds a request id to the event time of an update.

    Args:
        event_time: int64 scalar, seconds since the epoch. One that is out of
            range stays unchanged, so that the server refuses it.
        client: int64 scalar, who numbers the updates.
        sequence: int64 scalar, the number of the update, from 0; -1 for none.
        name: Name scope of the ops.

    Returns:
        int64 `[3]`, which `partition_gradients` and `combine_gradients` take in
        place of the event time.
    """
    with tf.name_scope(name or "with_request"):
        return tf.stack([event_time, client, sequence])
