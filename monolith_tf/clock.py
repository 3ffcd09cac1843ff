"""When the examples of a step happened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf.block_value import BlockValue

_times = BlockValue("mt.event_time")


@contextlib.contextmanager
def event_time(seconds) -> Iterator[None]:
    """Says when the examples happened that tables learn from in this context.

    Rows note the time of their last update; expiry, windows of admission and
    least-recently-used caps go by it. Without this it is the clock. Wrap the
    call of `apply_gradients` in a loop of your own, or in the `train_step` of a
    model that `fit` trains. In whatever TensorFlow traces, `tf.function`s and
    `train_step`s, give it a tensor, for instance of the batch: a number would
    stay what it was at the first step. A block around such a function, once
    traced, warns that nobody read its time.

    Args:
        seconds: Scalar number or tensor, seconds since the epoch from 0 to
            2^32 - 1; of a batch, for instance the latest time in it. A fraction
            is cut off.

    Raises:
        ValueError: `seconds` is not a scalar.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> table = mt.Table(mt.TableConfig(
    ...     "user", dim=1, eviction=mt.Eviction(ttl_seconds=60)))
    >>> with mt.event_time(1000):
    ...     table.apply_gradients([7], [[0.1]])
    >>> with mt.event_time(1100):
    ...     table.apply_gradients([8], [[0.1]])
    >>> _ = table.sweep(1100)
    >>> table.stats().num_expired, table.size()
    (1, 1)
    """
    time = tf.cast(seconds, tf.int64)
    if time.shape.rank not in (None, 0):
        raise ValueError(
            "event_time takes one time for the whole step, a scalar. Received: "
            f"shape {tuple(time.shape)}. Use for instance tf.reduce_max(times)."
        )
    with _times.hold(time):
        yield


def current_event_time(given=None) -> tf.Tensor:
    """Returns the time of an update: int64 scalar.

    Args:
        given: Scalar that goes before that of the context; None for that, or
            the clock.
    """
    time = _times.get()
    if given is not None:
        return tf.cast(given, tf.int64)
    return tf.cast(tf.timestamp(), tf.int64) if time is None else time
