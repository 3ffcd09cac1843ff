"""Parameter servers and workers as child processes."""

from __future__ import annotations

import atexit
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.cluster import roles
from monolith_tf.cluster.child_process import ChildProcess
from monolith_tf.cluster.child_process import stop_all
from monolith_tf.cluster.ports import pick_free_ports


class LocalCluster:
    """A cluster on this machine, with this process as its chief.

    Starts each parameter server and worker as a process on a free port, waits
    until all of them answer, and stops them when the block ends, also by an
    exception or Ctrl-C. If this process is killed, they are killed as well.

    Args:
        num_ps: Number of parameter servers, at least 1.
        num_workers: Number of workers, at least 1.
        log_directory: Folder of one log per process, `ps-0.log`, `worker-0.log`
            ...; created if needed. None for a new temporary folder.
        start_timeout_seconds: Time for all processes to answer.
        modules: Names of modules that each process imports before it serves,
            such as modules that load custom ops. `PYTHONPATH` applies.

    Raises:
        ValueError: A number is below 1.

    Example:
    ```python
    with LocalCluster(num_ps=2, num_workers=2) as cluster:
        strategy = tf.distribute.ParameterServerStrategy(
            roles.cluster_resolver)
    ```
    """

    def __init__(
        self,
        num_ps: int = 1,
        num_workers: int = 1,
        log_directory: str | os.PathLike[str] | None = None,
        start_timeout_seconds: float = 120.0,
        modules: Sequence[str] = (),
    ):
        """Checks the arguments; `start` starts the processes."""
        for name, value in (("num_ps", num_ps), ("num_workers", num_workers)):
            if value < 1:
                raise ValueError(
                    f"LocalCluster needs {name} of at least 1. Received: "
                    f"{name}={value}."
                )
        self._counts = {
            roles.CHIEF: 1,
            roles.WORKER: num_workers,
            roles.PARAMETER_SERVER: num_ps,
        }
        self._log_directory = log_directory
        self._start_timeout_seconds = start_timeout_seconds
        self._modules = tuple(modules)
        self._addresses: dict[str, list[str]] = {}
        self._children: list[ChildProcess] = []

    @property
    def children(self) -> tuple[ChildProcess, ...]:
        """The running processes: workers, then parameter servers."""
        return tuple(self._children)

    @property
    def log_directory(self) -> pathlib.Path:
        """Folder of the logs; known once started."""
        return pathlib.Path(self._require_started()._log_directory)

    @property
    def cluster_resolver(
        self,
    ) -> tf.distribute.cluster_resolver.SimpleClusterResolver:
        """Resolver for `tf.distribute.ParameterServerStrategy` in the chief."""
        return tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(self._require_started()._addresses),
            task_type=roles.CHIEF,
            task_id=0,
            rpc_layer="grpc",
        )

    def start(self) -> None:
        """Starts all processes and waits until each of them answers.

        Raises:
            RuntimeError: The cluster is running.
            ProcessError: A process ends, or does not answer in time.
        """
        if self._children:
            raise RuntimeError(
                "LocalCluster.start: the cluster is running. Stop it first."
            )
        if self._log_directory is None:
            self._log_directory = tempfile.mkdtemp(prefix="monolith-cluster-")
        pathlib.Path(self._log_directory).mkdir(parents=True, exist_ok=True)
        ports = iter(pick_free_ports(sum(self._counts.values())))
        self._addresses = {
            role: [f"localhost:{next(ports)}" for _ in range(count)]
            for role, count in self._counts.items()
        }
        atexit.register(self.stop)
        try:
            for role in (roles.WORKER, roles.PARAMETER_SERVER):
                for index in range(self._counts[role]):
                    self._children.append(self._start_child(role, index))
            deadline = time.monotonic() + self._start_timeout_seconds
            for child, address in zip(
                self._children,
                self._addresses[roles.WORKER]
                + self._addresses[roles.PARAMETER_SERVER],
                strict=True,
            ):
                child.wait_until_reachable(
                    int(address.rsplit(":", 1)[1]),
                    max(0.0, deadline - time.monotonic()),
                )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops all running processes and waits for them."""
        atexit.unregister(self.stop)
        stop_all(self._children)
        self._children.clear()

    def check(self) -> None:
        """Raises if a process of the cluster has died.

        Raises:
            ProcessError: A process has died; the message has its exit code and
                the end of its log.
        """
        for child in self._children:
            child.check()

    def __enter__(self) -> LocalCluster:
        """Starts the processes."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops the processes."""
        self.stop()

    def _start_child(self, role: str, index: int) -> ChildProcess:
        tf_config = {
            "cluster": self._addresses,
            "task": {"type": role, "index": index},
        }
        return ChildProcess(
            f"{role} {index}",
            [
                sys.executable,
                "-m",
                "monolith_tf.cluster",
                *(f"--import_module={module}" for module in self._modules),
            ],
            pathlib.Path(self._log_directory) / f"{role}-{index}.log",
            {
                "TF_CONFIG": json.dumps(tf_config),
                "TF_CPP_MIN_LOG_LEVEL": "1",
                # Several processes share a GPU, if there is one.
                "TF_FORCE_GPU_ALLOW_GROWTH": "true",
                "GRPC_FAIL_FAST": "use_caller",
                "PYTHONUNBUFFERED": "1",
                # `-m` would import from the working directory first, which in
                # a clone is the source tree without its op library.
                "PYTHONSAFEPATH": "1",
            },
        )

    def _require_started(self) -> LocalCluster:
        if not self._children:
            raise RuntimeError(
                "LocalCluster: the cluster is not running. Use `with "
                "LocalCluster(...) as cluster:`, or call start() first."
            )
        return self
