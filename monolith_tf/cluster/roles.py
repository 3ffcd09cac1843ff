"""Roles of the processes that train under ParameterServerStrategy.

On several machines, set `TF_CONFIG` per process and start the servers with
`python -m monolith_tf.cluster`; the chief is the training program. On one
machine, `LocalCluster` does both.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

import tensorflow as tf

from monolith_tf import ops  # noqa: F401  A server only runs ops it has loaded.
from monolith_tf.cluster import role_metrics

PARAMETER_SERVER = "ps"
WORKER = "worker"
CHIEF = "chief"
_PORT_SECONDS = 30.0
_PORT_RETRY_SECONDS = 0.5
EXAMPLE = (
    '{"cluster": {"chief": ["host0:2222"], "worker": ["host1:2222"], '
    '"ps": ["host2:2222"]}, "task": {"type": "ps", "index": 0}}'
)


def run_parameter_server(tf_config: str | None = None) -> None:
    """Serves as the parameter server that `TF_CONFIG` names; never returns.

    Args:
        tf_config: The configuration as JSON; the environment variable
            `TF_CONFIG` when None.

    Raises:
        ValueError: The configuration is missing or malformed, or names
            another role.
    """
    _serve(PARAMETER_SERVER, tf_config)


def run_worker(tf_config: str | None = None) -> None:
    """Serves as the worker that `TF_CONFIG` names; never returns.

    Args:
        tf_config: The configuration as JSON; the environment variable
            `TF_CONFIG` when None.

    Raises:
        ValueError: The configuration is missing or malformed, or names
            another role.
    """
    _serve(WORKER, tf_config)


def parse_tf_config(
    text: str | None,
) -> tuple[dict[str, list[str]], str, int]:
    """Returns the addresses of each role, and this process's role and index.

    Args:
        text: The value of `TF_CONFIG`.

    Returns:
        `(cluster, role, index)`: the addresses by role ("chief", "worker" or
        "ps"), and the role and index of this process.

    Raises:
        ValueError: `text` is not a cluster with a task in it.

    Example:
    >>> parse_tf_config(
    ...     '{"cluster": {"ps": ["localhost:2222"]},'
    ...     ' "task": {"type": "ps", "index": 0}}')
    ({'ps': ['localhost:2222']}, 'ps', 0)
    """
    if not text:
        raise ValueError(
            "TF_CONFIG is not set. Expected the cluster and this process's "
            f"task in it, such as {EXAMPLE}"
        )
    try:
        config = json.loads(text)
        cluster = {
            str(role): [str(address) for address in addresses]
            for role, addresses in config["cluster"].items()
        }
        role, index = config["task"]["type"], int(config["task"]["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"TF_CONFIG does not parse ({error!r}). Expected JSON such as "
            f"{EXAMPLE} Received: {text!r}."
        ) from error
    if not 0 <= index < len(cluster.get(role, [])):
        raise ValueError(
            "TF_CONFIG needs a task that is one of the cluster's addresses: "
            f"{ {each: len(of) for each, of in cluster.items()} }. Received: "
            f"task {role!r} {index}."
        )
    return cluster, role, index


def _serve(expected_role: str, tf_config: str | None) -> None:
    cluster, role, index = parse_tf_config(
        os.environ.get("TF_CONFIG") if tf_config is None else tf_config
    )
    if role != expected_role:
        raise ValueError(
            f"This process was started as {expected_role!r}, and TF_CONFIG "
            f"needs that task. Received: task {role!r} {index}. Set task.type "
            f"to {expected_role!r}, or start the {role} here."
        )
    # Lets the coordinator detect lost workers and servers.
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
    if threading.current_thread() is threading.main_thread():
        # join() blocks outside of Python, where Python's handler never runs.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # First, so that a reachable server has reachable metrics.
    role_metrics.serve_role_metrics()
    _start_server(cluster, role, index).join()


def _start_server(
    cluster: dict[str, list[str]], role: str, index: int
) -> tf.distribute.Server:
    """Starts the server; waits for a port that its last process still holds.

    A process that was killed may keep its port until the kernel has freed its
    memory, which takes seconds for a large server.
    """
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            return tf.distribute.Server(
                tf.train.ClusterSpec(cluster),
                job_name=role,
                task_index=index,
                protocol="grpc",
                start=True,
            )
        except tf.errors.UnknownError as error:
            # "Could not start gRPC server".
            if time.monotonic() > deadline:
                raise
            print(
                f"{role} {index}: {cluster[role][index]} is in use; trying "
                f"again: {error.message}",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(_PORT_RETRY_SECONDS)
