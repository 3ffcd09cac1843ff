"""Request ids: servers apply an update once if its step runs twice."""

from __future__ import annotations

import contextlib
import contextvars
import secrets
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf.step.context_scalar import BlockValue

_LIMIT = 1 << 62
_ids = BlockValue("mt.request_id")
_clients: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar(
    "mt.request_id client", default=None
)
# The client of loops that name none: this process.
_process = secrets.randbits(63)


@contextlib.contextmanager
def request_id(number, client=None) -> Iterator[None]:
    """Sets the request id of the updates in this context.

    A `ClusterCoordinator` repeats a step when its worker is lost, although some
    servers may have applied it. A server that has applied an update with the
    same id drops the second one, so each row is updated once. Give each call of
    `schedule` its own number and pass it as a tensor: in a traced function a
    number would keep its value of the first call, and a block around it warns.
    A repeated step has the same number.

    A request id is a pair of a client and a number. The client is this process,
    or `client`. A server knows for each client which numbers it has applied,
    however many these are, as long as no more than 1,024 ranges of numbers are
    missing among them. It refuses a number that is too old to know
    (`tf.errors.FailedPreconditionError`). Count up: numbers that start from 0
    again are repeats; a server that drops 32 in a row logs a warning.

    `fit` needs no request ids: it replaces a lost step by one with another
    batch. Dense weights do not support request ids. A restore forgets the ids,
    as it replaces the rows.

    Args:
        number: Scalar int or tensor, 0 to 2^62 - 1.
        client: Scalar int or int64 tensor that names who counts, for instance
            the partition of a stream. Default: a random number of the process
            that calls, or that traces the function.

    Raises:
        ValueError: `number` is out of range, or an argument is not a scalar.

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
    request = _scalar("number", number)
    static = tf.get_static_value(request)
    if static is not None and not 0 <= static < _LIMIT:
        raise ValueError(
            f"request_id takes a number from 0 to 2^62 - 1. Received: "
            f"{static}. Count the calls of `schedule`."
        )
    client = _scalar("client", _process if client is None else client)
    token = _clients.set(client)
    try:
        with _ids.hold(request):
            yield
    finally:
        _clients.reset(token)


def current_request() -> tuple[tf.Tensor, tf.Tensor] | None:
    """Returns client and number of the context, int64 scalars, or None."""
    number = _ids.get()
    return None if number is None else (_clients.get(), number)


def _scalar(name: str, value) -> tf.Tensor:
    tensor = tf.cast(tf.convert_to_tensor(value, _dtype_of(value)), tf.int64)
    if tensor.shape.rank not in (None, 0):
        raise ValueError(
            f"request_id takes one {name} for the whole step, a scalar. "
            f"Received: shape {tuple(tensor.shape)}."
        )
    return tensor


def _dtype_of(value) -> tf.DType | None:
    return tf.int64 if isinstance(value, int) else None
