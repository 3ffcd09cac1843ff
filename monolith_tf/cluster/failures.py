"""Cluster failures: detection, and an exit code that asks for a restart."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf.errors import in_one_line

# sysexits.h: a temporary failure, try again.
EXIT_RESTART = 75


def is_cluster_failure(error: BaseException) -> bool:
    """Returns True if an error means that the cluster lost a process.

    Whoever reports it: the cause of an error counts too, as of a
    `DeliveryError` of a pusher that met the dead server first.

    Args:
        error: Error of the training.

    Returns:
        True for the errors of TensorFlow when a parameter server is lost or
        restarted without its tables; False for others, such as errors of the
        model.

    Example:
    >>> is_cluster_failure(ValueError("a bad argument"))
    False
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if _means_a_lost_process(cause):
            return True
        seen.add(id(cause))
        cause = cause.__cause__
    return False


def _means_a_lost_process(error: BaseException) -> bool:
    # The coordinator wraps errors of workers.
    error = getattr(error, "original_exception", error)
    if isinstance(
        error,
        (
            tf.errors.UnavailableError,
            tf.errors.AbortedError,
            tf.errors.CancelledError,
        ),
    ):
        return True
    message = str(error)
    if isinstance(error, tf.errors.FailedPreconditionError):
        return "created nor restored there" in message or "/job:ps" in message
    if isinstance(
        error, (tf.errors.InvalidArgumentError, tf.errors.NotFoundError)
    ):
        # A server that restarted before any call.
        return any(
            part in message
            for part in (
                "unknown device",
                "Unable to find the relevant tensor remote_handle",
                "Unable to find a context_id",
            )
        )
    return False


@contextlib.contextmanager
def exit_for_restart() -> Iterator[None]:
    """A block that ends the process for a restart when the cluster fails.

    Put it around the training of the chief, including the creation of the
    model. The block logs a failure of the cluster in one line and ends the
    process at once with exit code `EXIT_RESTART` (75). It closes nothing else,
    because threads of the coordinator may wait for the dead server without a
    limit. The launcher (`monolith-tf launch`, Kubernetes) restarts the process,
    and `mt.callbacks.Checkpoints` continues from its last checkpoint. Other
    errors pass.

    Example:
    ```python
    with cluster.exit_for_restart():
        with strategy.scope():
            model = build()
        checkpoints = mt.callbacks.Checkpoints(model, "checkpoints")
        model.fit(dataset, steps_per_epoch=100, epochs=10,
                  initial_epoch=checkpoints.restore(),
                  callbacks=[checkpoints])
    ```
    """
    try:
        yield
    except Exception as error:
        if not is_cluster_failure(error):
            raise
        print(
            "monolith-tf: the cluster failed, so the chief exits with code "
            f"{EXIT_RESTART} to be restarted: {in_one_line(error)}",
            file=sys.stderr,
            flush=True,
        )
        sys.stdout.flush()
        os._exit(EXIT_RESTART)
