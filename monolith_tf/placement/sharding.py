"""Partitions, groups and owners of ids; docs/formats.md specifies them."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.stock_ops import hashing

NUM_PARTITIONS = 4096
NUM_GROUPS = 64


def partition(id: int) -> int:
    """Returns the partition of an id, 0 to 4095: the top bits of its hash.

    >>> partition(1)
    1385
    """
    return hashing.mix64(id) >> 52


def group(id: int) -> int:
    """Returns the checkpoint group of an id, 0 to 63: 64 partitions each."""
    return partition(id) >> 6


def owner(partition: int, num_shards: int) -> int:
    """Returns the shard, of `num_shards`, that owns a partition."""
    return partition * num_shards // NUM_PARTITIONS


def owners_of(ids: tf.Tensor, num_shards: int) -> tf.Tensor:
    """Returns the shard that owns each id: int64, the shape of `ids`."""
    top = tf.bitwise.right_shift(
        hashing.mix64_tensor(hashing.as_uint64(ids)), tf.constant(52, tf.uint64)
    )
    return tf.cast(top, tf.int64) * num_shards // NUM_PARTITIONS


def groups_of_shard(shard: int, num_shards: int) -> range:
    """Returns the groups that a shard owns some partition of."""
    first = -(-shard * NUM_PARTITIONS // num_shards)
    last = -(-(shard + 1) * NUM_PARTITIONS // num_shards) - 1
    if last < first:
        return range(0)
    return range(first >> 6, (last >> 6) + 1)
