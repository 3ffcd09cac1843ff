"""A training job on one machine: one supervised process per role."""

from __future__ import annotations

import collections
import json
import logging
import os
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence

from monolith_tf import failpoints
from monolith_tf.cluster import roles
from monolith_tf.cluster.child_process import ChildProcess
from monolith_tf.cluster.child_process import ProcessError
from monolith_tf.cluster.child_process import stop_all
from monolith_tf.cluster.failures import EXIT_RESTART
from monolith_tf.cluster.metrics_port import PORT_VARIABLE
from monolith_tf.cluster.ports import pick_free_ports

KERAS = "keras"
ESTIMATOR = "estimator"
_EVALUATOR = "evaluator"
_LOOK_SECONDS = 0.1
# Time for a chief to save its state and exit.
_CHIEF_SECONDS = 15.0
_START_SECONDS = 120.0
# Time for the workers of an Estimator after the chief has finished.
_FINISH_SECONDS = 60.0
_log = logging.getLogger("monolith_tf.launch")


class Job:
    """Runs a program on a cluster of processes and restarts them.

    In mode "keras" the program is the chief, with workers and parameter
    servers. A worker that dies is restarted alone. After too many restarts the
    job continues without it, if another worker runs. When a parameter server or
    the chief dies, all processes are restarted on new ports, and the program
    continues from its last checkpoint (`mt.callbacks.Checkpoints`). If the
    chief exits with a code other than 0 and `EXIT_RESTART`, the job ends with
    that code, unless a server has died.

    In mode "estimator" every role runs the program, and a process that dies is
    restarted alone. Exit codes have the same meaning.

    Args:
        command: The program and its arguments; a file that ends with ".py" runs
            in this Python.
        num_ps: Number of parameter servers, at least 1.
        num_workers: Number of workers in addition to the chief, at least 1; in
            mode "estimator", where the chief trains too, at least 0.
        mode: "keras" or "estimator".
        evaluator: True to run an evaluator; in mode "estimator" only.
        max_restarts: Allowed restarts per process.
        log_directory: Folder of one log per process, `chief-0.log` ...; created
            if needed. None for a new temporary folder.
        metrics: True to give each process a port for Prometheus metrics.
        modules: In mode "keras", modules that workers and parameter servers
            import before they serve, such as modules that load custom ops.
            `PYTHONPATH` applies.
        on_output: Called with the output of the chief, or None.

    Raises:
        ValueError: An argument is out of range.

    Example:
    ```python
    code = Job(["train.py", "--epochs=3"], num_ps=2, num_workers=2).run()
    ```
    """

    def __init__(
        self,
        command: Sequence[str],
        num_ps: int = 1,
        num_workers: int = 1,
        *,
        mode: str = KERAS,
        evaluator: bool = False,
        max_restarts: int = 10,
        log_directory: str | os.PathLike[str] | None = None,
        metrics: bool = False,
        modules: Sequence[str] = (),
        on_output: Callable[[str], None] | None = None,
    ):
        """Checks the arguments; `run` starts the processes."""
        for name, value, least in (
            ("num_ps", num_ps, 1),
            ("num_workers", num_workers, 0 if mode == ESTIMATOR else 1),
            ("max_restarts", max_restarts, 0),
        ):
            if value < least:
                raise ValueError(
                    f"Job needs {name} of at least {least}. Received: "
                    f"{name}={value}."
                )
        if mode not in (KERAS, ESTIMATOR):
            raise ValueError(
                f"Job needs mode {KERAS!r} or {ESTIMATOR!r}. Received: "
                f"{mode!r}."
            )
        if evaluator and mode != ESTIMATOR:
            raise ValueError(
                f"Job runs an evaluator in mode {ESTIMATOR!r} only. Received: "
                f"mode {mode!r}, where the chief evaluates."
            )
        if modules and mode != KERAS:
            raise ValueError(
                f"Job imports modules in mode {KERAS!r} only. Received: mode "
                f"{mode!r}, where every role runs the program: import them in "
                "it."
            )
        if not command:
            raise ValueError("Job needs a command. Received: an empty one.")
        if command[0].endswith(".py") and not pathlib.Path(command[0]).exists():
            raise ValueError(
                f"Job needs a program. Received: {command[0]!r}, which does "
                "not exist."
            )
        self._program = list(command)
        if command[0].endswith(".py"):
            self._program.insert(0, sys.executable)
        self._counts = {
            roles.CHIEF: 1,
            roles.WORKER: num_workers,
            roles.PARAMETER_SERVER: num_ps,
        }
        self._mode = mode
        self._roles = [
            (role, index)
            for role in (
                roles.PARAMETER_SERVER,
                roles.WORKER,
                roles.CHIEF,
            )
            for index in range(self._counts[role])
        ]
        if evaluator:
            self._roles.append((_EVALUATOR, 0))
        self._max_restarts = max_restarts
        self._log_directory = log_directory
        self._serves_metrics = metrics
        self._modules = tuple(modules)
        self._metrics_ports: dict[tuple[str, int], int] = {}
        self._on_output = on_output
        self._read_bytes = 0
        self._addresses: dict[str, list[str]] = {}
        self._children: dict[tuple[str, int], ChildProcess] = {}
        self._restarts: collections.Counter = collections.Counter()
        # Roles that ran the program when a server died, so may fail for it.
        self._may_fail: set[tuple[str, int]] = set()
        self._interrupted = 0

    @property
    def log_directory(self) -> pathlib.Path | None:
        """Folder of the logs; None before `run` if none was passed."""
        return self._log_directory and pathlib.Path(self._log_directory)

    def run(self) -> int:
        """Runs the job to its end; call it in the main thread.

        SIGINT and SIGTERM stop all processes.

        Returns:
            0 if the chief finished; its exit code, or 1, if the job failed; 128
            plus the number of the signal that ended the job.
        """
        if self._log_directory is None:
            self._log_directory = tempfile.mkdtemp(prefix="monolith-job-")
        self.log_directory.mkdir(parents=True, exist_ok=True)
        _log.info("logs of all processes: %s", self._log_directory)
        previous = {
            number: signal.signal(number, self._interrupt)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            self._read_bytes = self._size_of_output()
            self._start_all()
            while True:
                code = self._look()
                self._show_output()
                if code is not None:
                    return code
                if self._interrupted:
                    _log.info("signal %d: stopping", self._interrupted)
                    return 128 + self._interrupted
                time.sleep(_LOOK_SECONDS)
        finally:
            stop_all(self._children.values())
            self._show_output()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _interrupt(self, number, frame) -> None:
        del frame
        self._interrupted = number

    def _start_all(self) -> None:
        """Starts every process on free ports."""
        ports = iter(
            pick_free_ports(sum(self._counts.values()) + len(self._roles))
        )
        self._addresses = {
            role: [f"localhost:{next(ports)}" for _ in range(count)]
            for role, count in self._counts.items()
        }
        if self._serves_metrics:
            self._metrics_ports = {role: next(ports) for role in self._roles}
        self._write_cluster()
        for role in self._roles:
            if self._mode == KERAS and role[0] == roles.CHIEF:
                self._wait_for_servers()
            self._start(role)

    def _write_cluster(self) -> None:
        """Writes the addresses for `monolith-tf cluster-status`."""
        text = json.dumps(
            [
                {
                    "name": f"{name} {index}",
                    "address": self._addresses[name][index],
                    "metrics_port": self._metrics_ports.get((name, index)),
                }
                for name, index in self._roles
                if name in self._addresses
            ],
            indent=2,
        )
        failpoints.hit("job.before_write")
        (self.log_directory / "cluster.json").write_text(text)

    def _wait_for_servers(self) -> None:
        """Waits until all answer or one has died, which `_look` handles."""
        deadline = time.monotonic() + _START_SECONDS
        for (role, index), child in self._children.items():
            port = int(self._addresses[role][index].rsplit(":", 1)[1])
            try:
                child.wait_until_reachable(
                    port, max(0.0, deadline - time.monotonic())
                )
            except ProcessError as error:
                _log.warning("%s", error)
                child.stop()

    def _start(self, role: tuple[str, int]) -> None:
        name, index = role
        command = self._program
        if self._mode == KERAS and name != roles.CHIEF:
            command = [sys.executable, "-m", "monolith_tf.cluster"]
            command += [f"--import_module={module}" for module in self._modules]
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
        if command is not self._program:
            environment["PYTHONSAFEPATH"] = "1"
        child = ChildProcess(
            f"{name} {index}", command, self._log_of(role), environment
        )
        self._children[role] = child
        self._may_fail.discard(role)
        _log.info("%s started: process %d", child.name, child.pid)

    def _look(self) -> int | None:
        """Checks all processes once; returns the exit code of an ended job."""
        # Checked from the chief back to the servers, and handled in the reverse
        # order: so the server whose death ended the chief is found, too.
        ended = [
            role
            for role, child in reversed(self._children.items())
            if not child.is_running()
        ]
        chief = (roles.CHIEF, 0)
        if chief in ended and self._children[chief].wait() == 0:
            self._finish()
            return 0
        for role in reversed(ended):
            child = self._children[role]
            code = child.wait()
            if self._mode == ESTIMATOR and code == 0:
                if role[0] != roles.PARAMETER_SERVER:
                    del self._children[role]
                    _log.info("%s finished", child.name)
                    continue
            job_code = self._handle_death(role, child, code)
            if job_code is not None:
                return job_code
            if self._mode == KERAS and role[0] != roles.WORKER:
                return None  # The others are new processes.
        return None

    def _handle_death(self, role, child, code: int) -> int | None:
        """Restarts processes; returns the exit code if the job ends."""
        name = role[0]
        try:
            child.check()
        except ProcessError as error:
            _log.warning("%s", error)
        runs_program = self._mode == ESTIMATOR or name == roles.CHIEF
        if name == roles.PARAMETER_SERVER:
            self._may_fail = {
                other
                for other in self._children
                if other[0] != roles.PARAMETER_SERVER
            }
        elif runs_program and code > 0 and code != EXIT_RESTART:
            if role not in self._may_fail:
                _log.error(
                    "%s failed with exit code %d; stopping",
                    child.name,
                    code,
                )
                return code
        if self._restarts[role] >= self._max_restarts:
            if name == roles.WORKER:
                del self._children[role]
                if any(other == roles.WORKER for other, _ in self._children):
                    _log.warning(
                        "%s is left out after %d restarts; training continues "
                        "without it",
                        child.name,
                        self._max_restarts,
                    )
                    return None
            _log.error(
                "%s died after %d restarts (--max_restarts); stopping",
                child.name,
                self._max_restarts,
            )
            return code if code > 0 else 1
        self._restarts[role] += 1
        if self._mode == KERAS and name != roles.WORKER:
            return self._start_again(child.name, role)
        else:
            _log.warning(
                "restarting %s: restart %d of at most %d",
                child.name,
                self._restarts[role],
                self._max_restarts,
            )
            self._start(role)
        return None

    def _start_again(self, name: str, role) -> int | None:
        """Restarts the whole cluster; returns 0 if the chief has finished."""
        chief = self._children.get((roles.CHIEF, 0))
        if chief is not None and role[0] != roles.CHIEF:
            # It may have ended before its server was found dead.
            try:
                code = chief.wait(_CHIEF_SECONDS)
                if code == 0:
                    self._finish()
                    return 0
                _log.info("chief 0 exited with code %d", code)
            except ProcessError:
                _log.warning(
                    "chief 0 still runs %g s later; stopping it", _CHIEF_SECONDS
                )
        stop_all(self._children.values())
        self._show_output()
        self._children.clear()
        if self._interrupted:
            return None
        _log.warning(
            "%s died: restarting all processes, restart %d of at most %d; "
            "training resumes from the last checkpoint",
            name,
            self._restarts[role],
            self._max_restarts,
        )
        self._start_all()
        return None

    def _finish(self) -> None:
        """Waits for the other roles that run the program."""
        _log.info("chief 0 finished")
        if self._mode != ESTIMATOR:
            return
        deadline = time.monotonic() + _FINISH_SECONDS
        for (name, _), child in self._children.items():
            if name in (roles.PARAMETER_SERVER, roles.CHIEF):
                continue
            while child.is_running() and not self._interrupted:
                if time.monotonic() > deadline:
                    _log.warning(
                        "%s still runs %g s after the chief; stopping it",
                        child.name,
                        _FINISH_SECONDS,
                    )
                    return
                time.sleep(_LOOK_SECONDS)

    def _log_of(self, role: tuple[str, int]) -> pathlib.Path:
        return self.log_directory / f"{role[0]}-{role[1]}.log"

    def _size_of_output(self) -> int:
        path = self._log_of((roles.CHIEF, 0))
        return path.stat().st_size if path.exists() else 0

    def _show_output(self) -> None:
        path = self._log_of((roles.CHIEF, 0))
        if self._on_output is None or not path.exists():
            return
        with open(path, "rb") as log:
            log.seek(self._read_bytes)
            text = log.read()
        self._read_bytes += len(text)
        if text:
            self._on_output(text.decode(errors="replace"))
