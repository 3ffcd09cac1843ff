"""Ops by which a chief takes a server over, and by which a server leaves."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.ops.library import library


def fence_writers(
    epoch: tf.Tensor,
    writer: tf.Tensor,
    kept: tf.Tensor,
    *,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes a chief the writer of this server and frees other table sets.

    Mutates the server. Requests of an older chief fail from then on. Does not
    wait for those that run. Fails with Aborted if another writer has an epoch
    that is not lower.

    Args:
        epoch: Epoch of the chief, an int64 scalar.
        writer: A random number of the chief's process, an int64 scalar.
        kept: Names of the table sets of the chief, string `[n]`.
        name: Name of the op.

    Returns:
        The number of freed table sets, and their resident bytes, int64 scalars.
    """
    return tuple(library.monolith_fence_writers(epoch, writer, kept, name=name))


def adopt_table_set(
    handle: tf.Tensor,
    generation: tf.Tensor,
    epoch: tf.Tensor,
    writer: tf.Tensor,
    *,
    name: str | None = None,
) -> tf.Tensor:
    """Continues the table set that has a generation, under this one's name.

    Mutates the server. The rows of this table set are dropped, those of the
    other stay, with their generation, cuts and request ids. Blocks until the
    requests that run on it are done; later ones of the older chief fail. Does
    nothing if this set has the generation already, or if no table set of the
    server has it together with the same shard and equal tables. Fails as
    `fence_writers`.

    Args:
        handle: The table set, a resource scalar.
        generation: The generation, a positive int64 scalar.
        epoch: As in `fence_writers`.
        writer: As in `fence_writers`.
        name: Name of the op.

    Returns:
        True if the table set now has the generation, a bool scalar.
    """
    return library.monolith_adopt_table_set(
        handle, generation, epoch, writer, name=name
    )


def drain(wanted: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Reads whether this server's process drains, after raising it to a state.

    Mutates the process, unless it has reached the state. Does not block. A
    process serves at first (0). One that is to stop drains (1) until its state
    is saved (2), then it leaves. Without a writer (`fence_writers`) it does not
    wait.

    Args:
        wanted: The least state, an int64 scalar, 0 to 2.
        name: Name of the op.

    Returns:
        The state, an int64 scalar.
    """
    return library.monolith_drain(wanted, name=name)
