"""The processes of a job: one per role, each at its own address."""

from __future__ import annotations

import json
import logging
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

from monolith_tf import failpoints
from monolith_tf.cluster import progress
from monolith_tf.cluster import roles
from monolith_tf.cluster.child_process import ChildProcess
from monolith_tf.cluster.child_process import stop_all
from monolith_tf.cluster.heartbeats import HeartbeatMonitor
from monolith_tf.cluster.metrics_port import PORT_VARIABLE
from monolith_tf.cluster.ports import pick_free_ports

# Name and index, such as ("ps", 0).
Role = tuple[str, int]
_log = logging.getLogger("monolith_tf.launch")


class RoleProcesses:
    """Starts roles, and starts them again at the same addresses.

    A role keeps its ports for the whole job: others know it by them.

    Args:
        program: Command of the roles that run the program.
        server_command: Command of workers and parameter servers; None if they
            run the program too.
        counts: Number of processes by name of the role, for those that are in
            the cluster.
        all_roles: All roles, also those outside of the cluster, such as
            ("evaluator", 0).
        log_directory: Existing folder of the logs.
        serves_metrics: True to give each process a port for metrics.
        monitor: Watches each process from its start; None for no heartbeats.

    Attributes:
        children: The last process of each role, except of those that were
            forgotten.
        launcher_port: Port for the metrics of this process, or None.
    """

    def __init__(
        self,
        program: Sequence[str],
        server_command: Sequence[str] | None,
        counts: Mapping[str, int],
        all_roles: Sequence[Role],
        log_directory: pathlib.Path,
        serves_metrics: bool,
        monitor: HeartbeatMonitor | None,
    ):
        """Picks free ports; starts nothing."""
        self.children: dict[Role, ChildProcess] = {}
        self._program = program
        self._server_command = server_command
        self._log_directory = log_directory
        self._monitor = monitor
        self._roles = tuple(all_roles)
        num_ports = sum(counts.values()) + len(self._roles) + 1
        ports = iter(pick_free_ports(num_ports))
        self._addresses = {
            name: [f"localhost:{next(ports)}" for _ in range(count)]
            for name, count in counts.items()
        }
        self._metrics_ports: dict[Role, int] = {}
        self.launcher_port: int | None = None
        if serves_metrics:
            self._metrics_ports = {role: next(ports) for role in self._roles}
            self.launcher_port = next(ports)

    @property
    def progress_file(self) -> pathlib.Path:
        """File in which the chief reports its step."""
        return self._log_directory / progress.FILE_NAME

    def log_of(self, role: Role) -> pathlib.Path:
        """Returns the path of a role's log."""
        return self._log_directory / f"{role[0]}-{role[1]}.log"

    def start(self, role: Role) -> None:
        """Starts the process of a role, whose last one has ended."""
        name, index = role
        environment = {
            "TF_CONFIG": json.dumps(
                {
                    "cluster": self._addresses,
                    "task": {"type": name, "index": index},
                }
            ),
            "GRPC_FAIL_FAST": "use_caller",
            "PYTHONUNBUFFERED": "1",
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1"),
        }
        if role in self._metrics_ports:
            environment[PORT_VARIABLE] = str(self._metrics_ports[role])
        if name == roles.CHIEF:
            environment[progress.FILE_VARIABLE] = str(self.progress_file)
            failpoints.hit("role_processes.before_remove")
            self.progress_file.unlink(missing_ok=True)
        command = self._program
        if self._server_command and name in (
            roles.WORKER,
            roles.PARAMETER_SERVER,
        ):
            command = self._server_command
            # `-m` would import from the working directory first.
            environment["PYTHONSAFEPATH"] = "1"
        child = ChildProcess(
            f"{name} {index}", command, self.log_of(role), environment
        )
        self.children[role] = child
        if self._monitor is not None:
            self._monitor.watch(child.name, self._address(role), child.pid)
        self._write_cluster()
        _log.info("%s started: process %d", child.name, child.pid)

    def forget(self, role: Role) -> None:
        """Forgets a role whose process has ended, until its next start."""
        child = self.children.pop(role)
        if self._monitor is not None:
            self._monitor.forget(child.name)
        self._write_cluster()

    def refusal(self, role: Role) -> Exception | None:
        """Returns None if the server of a role takes connections, or why."""
        port = int(self._addresses[role[0]][role[1]].rpartition(":")[2])
        return self.children[role].refusal(port)

    def stop(self) -> None:
        """Stops all; servers last, which would wait for a snapshot."""
        servers = [
            child
            for (name, _), child in self.children.items()
            if name == roles.PARAMETER_SERVER
        ]
        stop_all(x for x in self.children.values() if x not in servers)
        stop_all(servers, grace_seconds=0.0)

    def _address(self, role: Role) -> str | None:
        name, index = role
        return self._addresses[name][index] if name in self._addresses else None

    def _write_cluster(self) -> None:
        """Writes the processes for `monolith-tf cluster-status`."""
        pids = {role: child.pid for role, child in self.children.items()}
        records = [
            {
                "name": f"{role[0]} {role[1]}",
                "address": self._address(role),
                "metrics_port": self._metrics_ports.get(role),
                "pid": pids.get(role),
            }
            for role in self._roles
        ]
        if self.launcher_port is not None:
            records.append(
                {
                    "name": "launcher",
                    "address": None,
                    "metrics_port": self.launcher_port,
                    "pid": os.getpid(),
                }
            )
        path = self._log_directory / "cluster.json"
        temporary = path.with_suffix(".tmp")
        failpoints.hit("role_processes.before_write")
        temporary.write_text(json.dumps(records, indent=2))
        os.replace(temporary, path)
