"""Event time: the time of the examples of a step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf.step.context_scalar import BlockValue

_times = BlockValue("mt.event_time")


@contextlib.contextmanager
def event_time(seconds) -> Iterator[None]:
    """Sets the event time of the updates in this context.

    Rows store the time of their last update. Expiry, admission windows and
    least-recently-used caps use it. The default is the clock. Wrap the call of
    `apply_gradients` in a custom loop, or in the `train_step` of a model that
    `fit` trains. In code that TensorFlow traces (`tf.function`, `train_step`)
    pass a tensor, for instance of the batch: a number would keep its value of
    the first step. A block around a traced function warns if no update read its
    time.

    Args:
        seconds: int64 scalar, an int or a tensor, seconds since the epoch from
            0 to 2^32 - 1; of a batch, for instance the latest time in it.

    Raises:
        TypeError: `seconds` is not an integer.
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
    with _times.hold(_time_of(seconds)):
        yield


def current_event_time(given=None) -> tf.Tensor:
    """Returns the time of an update: int64 scalar.

    Args:
        given: Scalar that replaces the time of the context; None for the
            context, or else the clock.

    Raises:
        TypeError: `given` is not an integer.
        ValueError: `given` is not a scalar.
    """
    time = _times.get()
    if given is not None:
        return _time_of(given)
    return tf.cast(tf.timestamp(), tf.int64) if time is None else time


def _time_of(seconds) -> tf.Tensor:
    """Returns a time as int64 scalar."""
    time = tf.convert_to_tensor(seconds)
    if not time.dtype.is_integer:
        raise TypeError(
            "event_time takes int64 seconds since the epoch. Received: "
            f"{seconds!r} (of dtype {time.dtype.name}). Round fractions: "
            "int(seconds), or tf.cast(seconds, tf.int64)."
        )
    if time.shape.rank not in (None, 0):
        raise ValueError(
            "event_time takes one time for the whole step, a scalar. Received: "
            f"shape {tuple(time.shape)}. Use for instance tf.reduce_max(times)."
        )
    return tf.cast(time, tf.int64)
