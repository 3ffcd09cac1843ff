"""Rows of a table as NumPy arrays, in batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from monolith_tf import ops
from monolith_tf.placement.sharding import owners_of
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.placement.table_set import servers_of
from monolith_tf.step.event_time import current_event_time


def export_rows(
    table: TableHandle, batch_size: int = 65536, *, with_slots: bool = True
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Reads all rows, one batch at a time, while training may continue.

    A row that exists throughout is yielded exactly once, in no particular
    order.

    Args:
        table: The table.
        batch_size: The most rows of a batch.
        with_slots: False for the values that `Table.lookup` returns. True for
            the stored weights of all segments followed by their slots, each in
            the order of its optimizer's `slot_names`.

    Yields:
        Int64 ids `[n]`, stamps int64 `[n]` (seconds since the epoch of the
        last update, plus 2^32 times the frequency where an LFU capacity limit
        keeps it), and rows float32 `[n, row_width]`, or `[n, dim]` without
        slots; n <= batch_size.

    Raises:
        ValueError: `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(
            f"batch_size must be at least 1. Received: {batch_size}."
        )
    for device, handle in servers_of(table.table_set):
        cursor = 0
        while cursor != -1:
            with tf.device(device):
                ids, stamps, rows, next_cursor = ops.export_chunk(
                    handle,
                    tf.constant(cursor, tf.int64),
                    table=table.name,
                    max_rows=batch_size,
                    values=not with_slots,
                )
            cursor = int(next_cursor)
            if ids.shape[0]:
                yield ids.numpy(), stamps.numpy(), rows.numpy()


def import_rows(table: TableHandle, ids, stamps, rows) -> None:
    """Sets rows together with their times and slots.

    Args:
        table: The table.
        ids: int64 `[n]`.
        stamps: int64 `[n]`, as `export_rows` yields them. Where the time is 0,
            as in rows of a table with `tracks_changes=False`, the row gets the
            latest time that the table has seen; before the first one, that of
            `mt.event_time`, or the clock.
        rows: float32 `[n, row_width]`, as `export_rows` yields them.
    """
    ids = tf.cast(ids, tf.int64)
    stamps = tf.cast(stamps, tf.int64)
    for device, handle in servers_of(table.table_set):
        with tf.device(device):
            times = stamps
            if table.config.eviction.needs_times:
                clock = ops.read_clock(handle, table=table.name)
                has_none = tf.equal(stamps % (1 << 32), 0) & (clock[1] < 1)
                times += tf.where(has_none, current_event_time(), 0)
            keys = tf.stack([ids, times], axis=1)
            ops.import_rows(handle, keys, rows, table=table.name)


def set_weights(table: TableHandle, ids, rows) -> None:
    """Sets the weights of rows during a restore; slots are initial.

    Args:
        table: The table.
        ids: int64 `[n]`, distinct.
        rows: float32 `[n, dim]`.
    """
    ids = tf.cast(ids, tf.int64)
    owners = owners_of(ids, table.table_set.num_shards)
    for shard, (device, handle) in enumerate(servers_of(table.table_set)):
        where = tf.where(tf.equal(owners, shard))
        with tf.device(device):
            ops.assign(
                handle,
                tf.gather_nd(ids, where),
                tf.gather_nd(rows, where),
                current_event_time(),
                table=table.name,
                in_restore=True,
            )
