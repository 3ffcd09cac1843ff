"""Sends the gradients of rows to the tables: one apply op per server."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.placement.registry import by_table_set
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.step.event_time import current_event_time
from monolith_tf.step.fused_gradients import RoutedGradients
from monolith_tf.step.request_id import current_request_id
from monolith_tf.step.transport import Wire


def apply_row_gradients(
    tables: Sequence[TableHandle],
    gradients: Sequence[tf.IndexedSlices],
    *,
    step: tf.Tensor,
    own_terms: Sequence[tf.Tensor | None] | None = None,
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
        own_terms: Per table int64 `[n_t]`, the terms of each slice
            (`OwnTerms.word`), or None for what the table says; default is None
            for all. Of an id with several the smallest min_count and the
            longest ttl hold.
        event_time: int64 scalar, seconds since the epoch; default is that of
            `mt.event_time`, or the clock.
        learning_rates: Per table float32 scalars, one a segment; default is
            what the optimizers of the segments say for this step.

    Returns:
        The apply operations (empty when executing eagerly).
    """
    event_time = current_event_time(event_time)
    request = current_request_id()
    if request is not None:
        event_time = ops.with_request(event_time, request)
    step = tf.cast(step, tf.int64)
    if learning_rates is None:
        learning_rates = [
            table.config.learning_rates_at(step) for table in tables
        ]
    applied = []
    for table_set, numbers in by_table_set(tables):
        packed, values = _gradients_by_shard(
            table_set,
            [tables[n] for n in numbers],
            [gradients[n] for n in numbers],
            [own_terms[n] for n in numbers] if own_terms else None,
            global_step=step + 1,
            event_time=event_time,
            learning_rates=tf.stack(
                [rate for n in numbers for rate in learning_rates[n]]
            ),
        )
        wire = Wire(table_set.wire_dtype)
        num_rates = sum(len(tables[n].config.segments) for n in numbers)
        for shard, device in enumerate(table_set.devices):
            message = wire.send(values[shard], num_exact=num_rates)
            with tf.device(device):
                applied.append(
                    ops.apply(
                        table_set.handles[shard],
                        packed[shard],
                        wire.receive(message, num_exact=num_rates),
                        tables=[tables[n].name for n in numbers],
                        dims=[tables[n].dim for n in numbers],
                    )
                )
    return [operation for operation in applied if operation is not None]


def _gradients_by_shard(table_set, tables, gradients, own_terms, **step):
    """Sums gradients by id and splits them: the inputs of `ops.apply`."""
    routed = RoutedGradients.find(gradients)
    if routed is not None:
        return routed.by_shard([table.config for table in tables], **step)
    return ops.partition_gradients(
        ids=[gradient.indices for gradient in gradients],
        gradients=[gradient.values for gradient in gradients],
        overrides=own_terms,
        num_shards=table_set.num_shards,
        **step,
    )
