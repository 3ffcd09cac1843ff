"""The number of buckets of a DenseHashTable, by its growth rule.

No stock op returns the number of buckets without exporting all of them, so the
status signature computes it. The rule is that of `MutableDenseHashTable`: an
insert of k keys, new or not, into a table of n keys doubles the buckets until
`n + k <= buckets * load`.
"""

from __future__ import annotations

import tensorflow as tf

# A sum of two powers of two: exact in float32, so this comparison and that of
# the kernel agree for every number of buckets.
MAX_LOAD_FACTOR = 0.75

# The kernel accepts any power of two; below this, growth starts at once.
MIN_BUCKETS = 4

# The largest power of two in an int64. No table reaches it; the counter stops
# at it and does not overflow.
MAX_BUCKETS = 1 << 62

# Rows that `MAX_BUCKETS` buckets hold.
MAX_ROWS = 3 << 60

_MAX_INT64 = (1 << 63) - 1
_LOG_MAX_BUCKETS = 62


def buckets_for(rows: int) -> int:
    """Returns the smallest number of buckets for `rows` keys.

    Args:
        rows: Number of keys, at most `MAX_ROWS`.

    Returns:
        A power of two.

    Raises:
        ValueError: No number of buckets is large enough.

    >>> buckets_for(3), buckets_for(4), buckets_for(1000)
    (4, 8, 2048)
    """
    if rows > MAX_ROWS:
        raise ValueError(
            f"A hash table holds at most {MAX_ROWS} rows. Received: {rows}."
        )
    buckets = MIN_BUCKETS
    while rows > buckets * MAX_LOAD_FACTOR:
        buckets *= 2
    return buckets


def buckets_after_insert(
    buckets: tf.Tensor, entries: tf.Tensor, inserted: tf.Tensor
) -> tf.Tensor:
    """Returns the number of buckets after one insert call.

    Args:
        buckets: int64 scalar, buckets before.
        entries: int64 scalar, keys in the table before.
        inserted: int64 scalar, keys passed to the insert, known ones included.

    Returns:
        int64 scalar, `MAX_BUCKETS` at most.
    """
    # An insert of nothing is never made. The sum stops at the end of int64.
    pending = tf.where(
        inserted > 0, entries + tf.minimum(inserted, _MAX_INT64 - entries), 0
    )
    # In float32, as the kernel compares them. There `buckets` times a power of
    # two is exact and far below the largest number; in int64 it overflows.
    powers = tf.constant([2.0**n for n in range(_LOG_MAX_BUCKETS)], tf.float32)
    capacities = tf.cast(buckets, tf.float32) * powers * MAX_LOAD_FACTOR
    too_small = tf.cast(pending, tf.float32) > capacities
    doublings = tf.reduce_sum(tf.cast(too_small, tf.int64))
    # Never shifts beyond MAX_BUCKETS: each doubling is dropped that would.
    possible = tf.reduce_sum(
        tf.cast(
            tf.cast(buckets, tf.float32) * powers < float(MAX_BUCKETS), tf.int64
        )
    )
    return tf.bitwise.left_shift(buckets, tf.minimum(doublings, possible))
