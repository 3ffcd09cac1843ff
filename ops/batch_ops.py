"""Ops that a worker runs on its own batch."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.ops.library import library


def partition(
    ids: Sequence[tf.Tensor], *, num_shards: int
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Makes the ids of each table distinct and splits them by shard.

    Args:
        ids: Per table int64 `[n_t]`.
        num_shards: Number of servers.

    Returns:
        Per shard the packed int64 input of `lookup`; per table positions int64
        `[n_t]` for `gather_rows`.
    """
    return library.monolith_partition(list(ids), num_shards=num_shards)


def gather_rows(
    packed: Sequence[tf.Tensor],
    shard_rows: Sequence[tf.Tensor],
    positions: Sequence[tf.Tensor],
    *,
    dims: Sequence[int],
) -> list[tf.Tensor]:
    """Puts the answers of all shards together.

    Returns:
        Per table float32 `[n_t, dim_t]`, in the order of the ids.
    """
    return library.monolith_gather_rows(
        list(packed), list(shard_rows), list(positions), dims=list(dims)
    )


def partition_gradients(
    *,
    global_step: tf.Tensor,
    event_time: tf.Tensor,
    learning_rates: tf.Tensor,
    ids: Sequence[tf.Tensor],
    gradients: Sequence[tf.Tensor],
    num_shards: int,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Sums the gradients of equal ids, counts them and splits them by shard.

    Args:
        global_step: int64 scalar, 1 for the first step.
        event_time: int64 scalar, seconds since the epoch.
        learning_rates: float32 `[T]`.
        ids: Per table int64 `[n_t]`.
        gradients: Per table float32 `[n_t, dim_t]`.
        num_shards: Number of servers.

    Returns:
        Per shard the int64 and the float32 input of `apply`.
    """
    return library.monolith_partition_gradients(
        global_step,
        event_time,
        learning_rates,
        list(ids),
        list(gradients),
        num_shards=num_shards,
    )


def attach(anchor: tf.Tensor, rows: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Passes rows on and ties them to a table's zero-row variable.

    Args:
        anchor: float32 `[0, dim]`, read from the variable.
        rows: float32 `[n, dim]`.
        ids: int64 `[n]`.

    Returns:
        The rows; their gradient for `anchor` is a `tf.IndexedSlices` with `ids`
        as indices.
    """
    return library.monolith_attach(anchor, rows, ids)


@tf.RegisterGradient("MonolithAttach")
def _attach_gradient(op: tf.Operation, gradient: tf.Tensor):
    anchor, rows, ids = op.inputs
    del rows
    # A function must not return one of its inputs as it is: as part of a
    # gradient that crosses into the caller's graph, TensorFlow rejects it.
    indices = tf.identity(ids)
    return tf.IndexedSlices(gradient, indices, tf.shape(anchor)), None, None


tf.no_gradient("MonolithLookup")
tf.no_gradient("MonolithLookupWithExists")
tf.no_gradient("MonolithGatherRows")
