"""Ops that begin, end and abandon the restore of a table set."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.ops.library import library


def begin_restore(
    handle: tf.Tensor,
    *,
    tables: Sequence[str] = (),
    name: str | None = None,
) -> tf.Operation | None:
    """Begins the restore of tables, or adds them to the restore that runs.

    Mutates the table set. Blocks until the lookups, updates and exports that
    have begun on this server are done. From then on the set has no generation,
    and ops on it fail with Aborted, except those that clear tables, import
    rows, counts and clocks, or report statistics. Forgets the known request ids
    and the logged changes. Calling it again is harmless.

    Args:
        handle: The table set, a resource scalar.
        tables: Names of the tables.
        name: Name of the op.
    """
    return library.monolith_begin_restore(
        handle, tables=list(tables), name=name
    )


def end_restore(
    handle: tf.Tensor,
    *,
    tables: Sequence[str] = (),
    generation: int = 0,
    name: str | None = None,
) -> tf.Tensor:
    """Ends the restore of tables.

    Mutates the table set. When every table whose restore has begun is restored,
    the set gets a new generation and may be used again; readers of its deltas
    start from a new export. Fails with FailedPrecondition if no restore is
    running.

    Args:
        handle: The table set, a resource scalar.
        tables: Names of the tables that were restored.
        generation: Positive int63; 0 draws a random one each time the op runs.
        name: Name of the op.

    Returns:
        The names of the tables that are still to be restored, string `[n]`,
        sorted.
    """
    return library.monolith_end_restore(
        handle, tables=list(tables), generation=generation, name=name
    )


def abandon_restore(
    handle: tf.Tensor, generation: int = 0, *, name: str | None = None
) -> tf.Operation | None:
    """Ends a restore that failed half-way, with empty tables.

    Mutates the table set. Removes every row of every table, if a restore is
    running. Gives the set a new generation in any case.

    Args:
        handle: The table set, a resource scalar.
        generation: Positive int63; 0 draws a random one each time the op runs.
        name: Name of the op.
    """
    return library.monolith_abandon_restore(
        handle, generation=generation, name=name
    )
