"""Ops that read statistics of tables, and counters of servers and workers."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.ops.library import library


def stats(
    handle: tf.Tensor, *, name: str | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads the statistics of this server's tables.

    Does not block and changes nothing. Tables are sorted by name.

    Args:
        handle: The table set, a resource scalar.
        name: Name of the op.

    Returns:
        The names of the tables, string `[T]`, and their statistics, int64 `[T,
        S]`: the fields of `mt.metrics.TableStats`, in their order.
    """
    return library.monolith_stats(handle, name=name)


def request_counts(handle: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Counts the updates that this server has applied and dropped.

    Does not block and changes nothing. Counts start when the table set is
    created. An update is dropped if its request id is known.

    Args:
        handle: The table set, a resource scalar.
        name: Name of the op.

    Returns:
        int64 `[2]`: updates applied, updates dropped.
    """
    return library.monolith_request_counts(handle, name=name)


def server_counters(*, name: str | None = None) -> tf.Tensor:
    """Counts the lookups and updates of this process.

    Does not block and changes nothing. Counts those of all table sets.

    Args:
        name: Name of the op.

    Returns:
        int64 `[2, 5]`; row 0 is of `lookup`, row 1 of `apply`. Columns: calls,
        ids, bytes in and out, nanoseconds inside the op, calls inside it now.
    """
    return library.monolith_server_counters(name=name)


def worker_counters(*, name: str | None = None) -> tf.Tensor:
    """Counts the steps that this process ran as a worker, and their time.

    Does not block and changes nothing.

    Args:
        name: Name of the op.

    Returns:
        int64 `[4]`: lookups, nanoseconds from ids to vectors, steps with
        gradients, nanoseconds from vectors to gradients.
    """
    return library.monolith_worker_counters(name=name)
