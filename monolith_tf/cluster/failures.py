"""Cluster failures: detection, and an exit code that asks for a restart."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.cluster import roles
from monolith_tf.cluster.health import HUNG
from monolith_tf.cluster.health import PARTITIONED
from monolith_tf.cluster.health import Health
from monolith_tf.cluster.heartbeats import HeartbeatMonitor
from monolith_tf.cluster.progress import ProgressReporter
from monolith_tf.cluster.progress import is_launched
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
def exit_for_restart(
    strategy: tf.distribute.Strategy | Sequence[str] | None = None,
    heartbeat_timeout_seconds: float = 5.0,
) -> Iterator[None]:
    """A block that ends the process for a restart when the cluster fails.

    Put it around the training of the chief, including the creation of the
    model. The block logs a failure of the cluster in one line and ends the
    process at once with exit code `EXIT_RESTART` (75). It closes nothing else,
    because threads of the coordinator may wait for the dead server without a
    limit. The launcher (`monolith-tf launch`, Kubernetes) restarts the process,
    and `mt.callbacks.Checkpoints` continues from its last checkpoint. Other
    errors pass.

    Calls to a parameter server that hangs, or whose machine is cut off, would
    wait forever. So the block also asks each server for heartbeats, and ends
    the process in the same way, with a line that names the server, when one has
    not answered for `heartbeat_timeout_seconds`. Under `monolith-tf launch` the
    launcher does that, and restarts the server too.

    Args:
        strategy: A `tf.distribute.ParameterServerStrategy`, or the addresses
            "host:port" of the parameter servers. None for those of `TF_CONFIG`
            if this process is its chief and no launcher watches them.
        heartbeat_timeout_seconds: Time without an answer; 0 for no heartbeats.

    Raises:
        ValueError: The time is negative, or the strategy has no parameter
            servers.

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
    if heartbeat_timeout_seconds < 0:
        raise ValueError(
            "exit_for_restart needs heartbeat_timeout_seconds of at least 0. "
            f"Received: heartbeat_timeout_seconds={heartbeat_timeout_seconds}."
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(ProgressReporter())
        addresses = _parameter_servers(strategy)
        if addresses and heartbeat_timeout_seconds:
            monitor = HeartbeatMonitor(
                heartbeat_timeout_seconds, on_change=_exit_if_silent
            )
            stack.enter_context(monitor)
            for index, address in enumerate(addresses):
                monitor.watch(f"{roles.PARAMETER_SERVER} {index}", address)
        try:
            yield
        except Exception as error:
            if not is_cluster_failure(error):
                raise
            _exit(in_one_line(error))


def _exit(reason: str) -> None:
    print(
        "monolith-tf: the cluster failed, so the chief exits with code "
        f"{EXIT_RESTART} to be restarted: {reason}",
        file=sys.stderr,
        flush=True,
    )
    sys.stdout.flush()
    os._exit(EXIT_RESTART)


def _exit_if_silent(health: Health) -> None:
    """Ends the process for what TensorFlow's calls do not notice."""
    if health.state in (HUNG, PARTITIONED):
        _exit(str(health))


def _parameter_servers(
    strategy: tf.distribute.Strategy | Sequence[str] | None,
) -> list[str]:
    """Returns the addresses of the parameter servers to watch."""
    if strategy is None:
        text = os.environ.get("TF_CONFIG")
        if not text or is_launched():
            return []
        try:
            addresses, role, _ = roles.parse_tf_config(text)
        except ValueError:
            # Such as that of an evaluator, which is not in the cluster. Who
            # needs the cluster reports the error.
            return []
        if role != roles.CHIEF:
            return []
        return addresses.get(roles.PARAMETER_SERVER, [])
    if not isinstance(strategy, tf.distribute.Strategy):
        return list(strategy)
    resolver = strategy.cluster_resolver
    addresses = {} if resolver is None else resolver.cluster_spec().as_dict()
    if not addresses.get(roles.PARAMETER_SERVER):
        raise ValueError(
            "exit_for_restart needs a strategy with parameter servers, or "
            f"their addresses. Received: {strategy!r}. Pass None to watch "
            "those of TF_CONFIG."
        )
    return addresses[roles.PARAMETER_SERVER]
