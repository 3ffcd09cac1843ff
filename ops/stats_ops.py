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
    """Counts the updates that this server has applied, dropped and refused.

    Does not block and changes nothing. Counts start when the table set is
    created. An update is dropped if its request id is known, and refused if
    that is too old to know.

    Args:
        handle: The table set, a resource scalar.
        name: Name of the op.

    Returns:
        int64 `[3]`: updates applied, updates dropped, updates refused.
    """
    return library.monolith_request_counts(handle, name=name)


def export_requests(handle: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Reads which requests this server has applied.

    Changes nothing. The numbers take O(clients); docs/formats.md specifies
    them.

    Args:
        handle: The table set, a resource scalar.
        name: Name of the op.

    Returns:
        int64 `[n]`.
    """
    return library.monolith_export_requests(handle, name=name)


def import_requests(
    handle: tf.Tensor, marks: tf.Tensor, *, name: str | None = None
) -> tf.Operation | None:
    """Sets which requests this server has applied, as part of a restore.

    Mutates the known requests, and replaces all of them. Fails with
    InvalidArgument, and changes nothing, for other numbers than those of
    `export_requests`.

    Args:
        handle: The table set, a resource scalar.
        marks: int64 `[n]`.
        name: Name of the op.
    """
    return library.monolith_import_requests(handle, marks, name=name)


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
