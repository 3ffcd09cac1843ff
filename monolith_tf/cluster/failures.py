"""What a chief does when the cluster under it fails: it ends, to come back."""

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
    """Whether an error says that a process of the cluster went away.

    Args:
        error: What training raised.

    Returns:
        True for the errors that TensorFlow raises when a parameter server is
        gone or came back without its tables. Of anything else, such as an
        error of the model, it is False.

    Example:
    >>> is_cluster_failure(ValueError("a bad argument"))
    False
    """
    # The coordinator wraps what a worker met.
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
        # A server that came back before anybody called it.
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

    Put it around the training of the chief, from where the model is made on.
    A failure of the cluster is logged in one line, and the process ends at
    once with exit code `EXIT_RESTART` (75): the coordinator's threads may wait
    for the dead server for ever, so nothing else of the process is closed.
    Whoever started the process (`monolith-tf launch`, Kubernetes) starts it
    again, and `mt.callbacks.Checkpoints` lets it go on from its last
    checkpoint. Other errors pass.

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
            "monolith-tf: the cluster failed, so the chief ends with exit code "
            f"{EXIT_RESTART} to be started again: {in_one_line(error)}",
            file=sys.stderr,
            flush=True,
        )
        sys.stdout.flush()
        os._exit(EXIT_RESTART)
