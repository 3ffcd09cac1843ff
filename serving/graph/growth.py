"""How many buckets a DenseHashTable has: its growth rule, said again.

No stock op tells the number of buckets without exporting all of them, so the
status signature counts along. The rule is that of `MutableDenseHashTable`: an
insert of k keys, new or not, into a table of n keys doubles the buckets until
`n + k <= buckets * load`.
"""

from __future__ import annotations

import tensorflow as tf

# A sum of two powers of two: exact in float32, so that the comparison here and
# the one in the kernel agree for every number of buckets.
MAX_LOAD_FACTOR = 0.75

# The kernel accepts any power of two; below this, growth starts at once.
MIN_BUCKETS = 4

_MAX_DOUBLINGS = 40


def buckets_for(rows: int) -> int:
    """Smallest number of buckets that holds `rows` keys without growing.

    Args:
      rows: Number of keys.

    Returns:
      A power of two.

    >>> buckets_for(3), buckets_for(4), buckets_for(1000)
    (4, 8, 2048)
    """
    buckets = MIN_BUCKETS
    while rows > buckets * MAX_LOAD_FACTOR:
        buckets *= 2
    return buckets


def buckets_after_insert(
    buckets: tf.Tensor, entries: tf.Tensor, inserted: tf.Tensor
) -> tf.Tensor:
    """Number of buckets after one insert call.

    Args:
      buckets: int64 scalar, buckets before.
      entries: int64 scalar, keys in the table before.
      inserted: int64 scalar, keys passed to the insert, known ones included.

    Returns:
      int64 scalar.
    """
    # An insert of nothing is never made.
    pending = tf.where(inserted > 0, entries + inserted, 0)
    doublings = tf.range(_MAX_DOUBLINGS, dtype=tf.int64)
    candidates = tf.bitwise.left_shift(
        tf.fill([_MAX_DOUBLINGS], buckets), doublings
    )
    too_small = tf.cast(pending, tf.float32) > (
        tf.cast(candidates, tf.float32) * MAX_LOAD_FACTOR
    )
    return tf.gather(candidates, tf.reduce_sum(tf.cast(too_small, tf.int64)))
