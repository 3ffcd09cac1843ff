"""Roles of the processes that train under ParameterServerStrategy.

On several machines, give each process its `TF_CONFIG` and start the servers
with `python -m monolith_tf.cluster`; the chief is your own program. On one
machine, `LocalCluster` does all of it.
"""

from __future__ import annotations

import json
import os
import signal
import threading

import tensorflow as tf

from monolith_tf import ops  # noqa: F401  A server only runs ops it has loaded.
from monolith_tf.cluster import role_metrics

PARAMETER_SERVER = "ps"
WORKER = "worker"
CHIEF = "chief"
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
        ValueError: If the configuration is missing or malformed, or names
            another role.
    """
    _serve(PARAMETER_SERVER, tf_config)


def run_worker(tf_config: str | None = None) -> None:
    """Serves as the worker that `TF_CONFIG` names; never returns.

    Args:
        tf_config: The configuration as JSON; the environment variable
            `TF_CONFIG` when None.

    Raises:
        ValueError: If the configuration is missing or malformed, or names
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
        `(cluster, role, index)`: the addresses by role, "chief", "worker" or
        "ps", and which of them this process is.

    Raises:
        ValueError: If `text` is not a cluster with a task in it.

    Example:
    >>> parse_tf_config(
    ...     '{"cluster": {"ps": ["localhost:2222"]},'
    ...     ' "task": {"type": "ps", "index": 0}}')
    ({'ps': ['localhost:2222']}, 'ps', 0)
    """
    if not text:
        raise ValueError(
            "TF_CONFIG is not set; expected the cluster and this process's "
            f"place in it, such as {EXAMPLE}"
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
            f"TF_CONFIG is {text!r}, which does not parse ({error!r}); "
            f"expected {EXAMPLE}"
        ) from error
    if not 0 <= index < len(cluster.get(role, [])):
        raise ValueError(
            f"TF_CONFIG names the task {role!r} {index}, but the cluster has "
            f"{ {each: len(of) for each, of in cluster.items()} }; expected "
            "the type and index of one of its addresses."
        )
    return cluster, role, index


def _serve(expected_role: str, tf_config: str | None) -> None:
    cluster, role, index = parse_tf_config(
        os.environ.get("TF_CONFIG") if tf_config is None else tf_config
    )
    if role != expected_role:
        raise ValueError(
            f"TF_CONFIG names the task {role!r} {index}, but this process was "
            f"started as {expected_role!r}. Set task.type to "
            f"{expected_role!r}, or start the {role} here."
        )
    # Lets the coordinator see that a worker or a server is gone.
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
    if threading.current_thread() is threading.main_thread():
        # join() blocks outside Python, where its handler never runs.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # First: who reaches the server reaches its metrics.
    role_metrics.serve_role_metrics()
    server = tf.distribute.Server(
        tf.train.ClusterSpec(cluster),
        job_name=role,
        task_index=index,
        protocol="grpc",
        start=True,
    )
    server.join()
