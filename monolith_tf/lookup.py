"""Reads rows of tables, and sends gradients back to them.

One lookup op and one apply op per server carry all tables of a set, whatever
the number of features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from monolith_tf import ops
from monolith_tf.lookup_backend import current_backend

if TYPE_CHECKING:
    from monolith_tf.table import Table


def lookup_rows(
    tables: Sequence[Table], ids: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Reads rows, each tied to its table so that gradients find the way back.

    Args:
        tables: Distinct tables.
        ids: Per table int64 `[n_t]`, duplicates allowed.

    Returns:
        Per table float32 `[n_t, dim_t]`, in the order of the ids; an unseen id
        reads its initial row.
    """
    backend = current_backend()
    if backend is not None:
        return [
            backend.lookup(table, table_ids)
            for table, table_ids in zip(tables, ids, strict=True)
        ]
    _refuse_xla(tables)
    rows: list[tf.Tensor | None] = [None] * len(tables)
    for table_set, numbers in _by_table_set(tables):
        read = _lookup_in_set(
            table_set,
            [tables[number] for number in numbers],
            [ids[number] for number in numbers],
        )
        for number, table_rows in zip(numbers, read, strict=True):
            rows[number] = ops.attach(
                tables[number].anchor, table_rows, ids[number]
            )
    return rows


def apply_row_gradients(
    tables: Sequence[Table],
    gradients: Sequence[tf.IndexedSlices],
    *,
    step: tf.Tensor,
    event_time: tf.Tensor | None = None,
    learning_rates: Sequence[Sequence[tf.Tensor]] | None = None,
) -> list[tf.Operation]:
    """Runs each table's optimizer once for every distinct id.

    Args:
        tables: Distinct tables.
        gradients: Per table the slices of all uses of the table in this step:
            values float32 `[n_t, dim_t]`, indices int64 `[n_t]`; equal ids are
            summed.
        step: int64 scalar, the steps made before this one.
        event_time: int64 scalar, seconds since the epoch; default is the clock.
        learning_rates: Per table float32 scalars, one a segment; default is
            what the optimizers of the segments say for this step.

    Returns:
        The apply operations (empty when executing eagerly).
    """
    if event_time is None:
        event_time = tf.cast(tf.timestamp(), tf.int64)
    step = tf.cast(step, tf.int64)
    if learning_rates is None:
        learning_rates = [
            table.config.learning_rates_at(step) for table in tables
        ]
    applied = []
    for table_set, numbers in _by_table_set(tables):
        packed, values = ops.partition_gradients(
            global_step=step + 1,
            event_time=event_time,
            learning_rates=tf.stack(
                [rate for n in numbers for rate in learning_rates[n]]
            ),
            ids=[gradients[n].indices for n in numbers],
            gradients=[gradients[n].values for n in numbers],
            num_shards=table_set.num_shards,
        )
        for shard, device in enumerate(table_set.devices):
            with tf.device(device):
                applied.append(
                    ops.apply(
                        table_set.handles[shard],
                        packed[shard],
                        values[shard],
                        tables=[tables[n].name for n in numbers],
                        dims=[tables[n].dim for n in numbers],
                    )
                )
    return [operation for operation in applied if operation is not None]


def _lookup_in_set(table_set, tables, ids) -> list[tf.Tensor]:
    packed, positions = ops.partition(ids, num_shards=table_set.num_shards)
    dims = [table.dim for table in tables]
    shard_rows = []
    for shard, device in enumerate(table_set.devices):
        with tf.device(device):
            shard_rows.append(
                ops.lookup(
                    table_set.handles[shard],
                    packed[shard],
                    tables=[table.name for table in tables],
                    dims=dims,
                )
            )
    return ops.gather_rows(packed, shard_rows, positions, dims=dims)


def _refuse_xla(tables: Sequence[Table]) -> None:
    """Says what XLA would say later, and in other words."""
    if tf.executing_eagerly():
        return
    if control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    ):
        raise ValueError(
            f"Table {tables[0].name!r} can't be read in a function that XLA "
            "compiles. Leave jit_compile=True out of model.compile or "
            "tf.function; parts of the model without tables may keep it."
        )


def _by_table_set(tables):
    """Groups the positions of tables by their table set, order kept."""
    groups = {}
    for number, table in enumerate(tables):
        groups.setdefault(id(table.table_set), (table.table_set, []))[1].append(
            number
        )
    return list(groups.values())
