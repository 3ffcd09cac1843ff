"""Request ids: servers apply an update once if its step runs twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf.step.context_scalar import BlockValue

_LIMIT = 1 << 30
_ids = BlockValue("mt.request_id")


@contextlib.contextmanager
def request_id(number) -> Iterator[None]:
    """Sets the request id of the updates in this context.

    A `ClusterCoordinator` repeats a step when its worker is lost, although some
    servers may have applied it. A server that has applied an update with the
    same id drops the second one, so each row is updated once. Give each call of
    `schedule` its own number and pass it as a tensor: in a traced function a
    number would keep its value of the first call, and a block around it warns.
    A repeated step has the same number.

    `fit` needs no request ids: it replaces a lost step by one with another
    batch. Dense weights do not support request ids. A restore forgets the ids,
    as it replaces the rows.

    Args:
        number: Scalar int or tensor, 0 to 2^30 - 1. A server remembers the last
            65,536.

    Raises:
        ValueError: `number` is out of range, or not a scalar.

    Example:
    >>> import monolith_tf as mt
    >>> table = mt.Table(mt.TableConfig(
    ...     "user", dim=1, optimizer=mt.optimizers.SGD(1.0),
    ...     initializer=mt.initializers.Zeros()))
    >>> for _ in range(2):
    ...     with mt.request_id(41):
    ...         table.apply_gradients([7], [[0.5]])
    >>> table.lookup([7]).numpy()
    array([[-0.5]], dtype=float32)
    >>> mt.metrics.request_counts(table).repeated
    (1,)
    """
    request = tf.cast(number, tf.int64)
    if request.shape.rank not in (None, 0):
        raise ValueError(
            "request_id takes one number for the whole step, a scalar. "
            f"Received: shape {tuple(request.shape)}."
        )
    static = tf.get_static_value(request)
    if static is not None and not 0 <= static < _LIMIT:
        raise ValueError(
            f"request_id takes a number from 0 to {_LIMIT - 1}. Received: "
            f"{static}. Count the calls of `schedule`."
        )
    # A tensor that is too large would reach into other bits.
    with _ids.hold(tf.math.floormod(request, _LIMIT)):
        yield


def current_request_id() -> tf.Tensor | None:
    """Returns the id of the context, int64 scalar, or None."""
    return _ids.get()
