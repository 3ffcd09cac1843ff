"""Ops that cut deltas and tell the state of a table set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from monolith_tf.ops.library import library


class TakenDelta(NamedTuple):
    """What `take_delta` returns; scalars are int64, lists go by table."""

    generation: tf.Tensor
    from_cut: tf.Tensor
    to_cut: tf.Tensor
    ids: list[tf.Tensor]
    exists: list[tf.Tensor]
    rows: list[tf.Tensor]


def start_deltas(handle: tf.Tensor) -> tf.Tensor:
    """Starts to log changed ids; returns the cut reached, int64 scalar."""
    return library.monolith_start_deltas(handle)


def take_delta(
    handle: tf.Tensor,
    acked_cut: tf.Tensor,
    *,
    tables: Sequence[str],
    dims: Sequence[int],
) -> TakenDelta:
    """Advances the cut and reads the ids that changed since `acked_cut`.

    Args:
        handle: Of the table set.
        acked_cut: int64 scalar, the last cut whose delta is safe.
        tables: Names of the tables.
        dims: Their row lengths.

    Returns:
        Per table ids int64 `[n]`, exists bool `[n]`, rows float32 `[n, dim]`
        (zeros where the row was removed).

    Raises:
        tf.errors.OutOfRangeError: The changes after `acked_cut` are not here:
            they are forgotten, or the cut is of a former life of the shard.
        tf.errors.ResourceExhaustedError: No cut is left.
    """
    return TakenDelta(
        *library.monolith_take_delta(
            handle,
            acked_cut,
            tables=list(tables),
            dims=list(dims),
            num_tables=len(tables),
        )
    )


def renew(handle: tf.Tensor, generation: int) -> tf.Operation | None:
    """Gives the table set a new generation, as after a restore."""
    return library.monolith_renew(handle, generation=generation)


def table_set_status(handle: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns generation and cut, int64 scalars."""
    return library.monolith_table_set_status(handle)
