"""Pretrained rows of a table on the server that owns their ids."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.eager import context

from monolith_tf import ops
from monolith_tf.config.initializers import Pretrained
from monolith_tf.config.table_config import TableConfig
from monolith_tf.placement import sharding


def send_pretrained(
    handle: tf.Tensor, config: TableConfig, shard: int, num_shards: int
) -> list[tf.Operation]:
    """Sends a server the pretrained rows of the ids that it owns.

    Args:
        handle: The table set on the server, a resource scalar.
        config: Config of the table, which exists there.
        shard: The shard of the server.
        num_shards: Number of shards.

    Returns:
        The operations, one per segment with rows; None in place of each when
        executing eagerly.
    """
    sent = []
    for number, segment in enumerate(config.segments):
        if not isinstance(segment.initializer, Pretrained):
            continue
        ids = segment.initializer.ids
        with context.eager_mode():
            owners = sharding.owners_of(
                tf.constant(ids, tf.int64), num_shards
            ).numpy()
        mine = owners == shard
        if not mine.any():
            continue
        sent.append(
            ops.set_pretrained(
                handle,
                tf.constant(ids[mine], tf.int64),
                tf.constant(segment.initializer.rows[mine], tf.float32),
                table=config.name,
                segment=number,
            )
        )
    return sent
