"""A training job on one machine: one supervised process per role."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence

from monolith_tf.cluster import roles
from monolith_tf.cluster.child_process import ChildProcess
from monolith_tf.cluster.child_process import ProcessError
from monolith_tf.cluster.health import HUNG
from monolith_tf.cluster.health import PARTITIONED
from monolith_tf.cluster.heartbeat_metrics import serve_heartbeat_metrics
from monolith_tf.cluster.heartbeats import HeartbeatMonitor
from monolith_tf.cluster.leaving import EXIT_RESTART
from monolith_tf.cluster.log_tail import LogTail
from monolith_tf.cluster.progress import read_step
from monolith_tf.cluster.progress_watch import ProgressWatch
from monolith_tf.cluster.restart_window import RestartWindow
from monolith_tf.cluster.role_processes import Role
from monolith_tf.cluster.role_processes import RoleProcesses

KERAS = "keras"
ESTIMATOR = "estimator"
_CHIEF: Role = (roles.CHIEF, 0)
_EVALUATOR: Role = ("evaluator", 0)
_LOOK_SECONDS = 0.1
# Time for a chief to notice a dead server, save what it can and exit.
_CHIEF_SECONDS = 15.0
_START_SECONDS = 120.0
# Time for the workers of an Estimator after the chief has finished.
_FINISH_SECONDS = 60.0
_RESUMES = "; training resumes from the last checkpoint"
_log = logging.getLogger("monolith_tf.launch")


class Job:
    """Runs a program on a cluster of processes and restarts them.

    In mode "keras" the program is the chief, with workers and parameter
    servers. A worker that dies is restarted alone. After too many restarts the
    job continues without it, if another worker runs. When a parameter server
    dies, it and the chief are restarted, and when the chief dies, it alone. The
    program continues from its last checkpoint (`mt.callbacks.Checkpoints`). If
    the chief exits with a code other than 0 and `EXIT_RESTART`, the job ends
    with that code, unless a server has died.

    In mode "estimator" every role runs the program, and a process that dies is
    restarted alone. Exit codes have the same meaning.

    A process that hangs is killed, and then treated like one that died
    (`HeartbeatMonitor`). SIGTERM drains: the chief gets it first, and the
    others run until it has left.

    Args:
        command: The program and its arguments; a file that ends with ".py" runs
            in this Python.
        num_ps: Number of parameter servers, at least 1.
        num_workers: Number of workers in addition to the chief, at least 1; in
            mode "estimator", where the chief trains too, at least 0.
        mode: "keras" or "estimator".
        evaluator: True to run an evaluator; in mode "estimator" only.
        max_restarts: Allowed restarts per process and hour.
        heartbeat_timeout_seconds: Time without an answer until a process counts
            as hung; 0 for no heartbeats.
        progress_timeout_seconds: Time without a finished step until the chief
            counts as hung, from its first report on (`report_step`, or the
            beginning of `exit_for_restart`); 0 for no limit.
        drain_seconds: Time of the chief to leave after SIGTERM.
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
        heartbeat_timeout_seconds: float = 5.0,
        progress_timeout_seconds: float = 0.0,
        drain_seconds: float = 25.0,
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
            ("heartbeat_timeout_seconds", heartbeat_timeout_seconds, 0),
            ("progress_timeout_seconds", progress_timeout_seconds, 0),
            ("drain_seconds", drain_seconds, 0),
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
        self._mode = mode
        self._counts = {
            roles.PARAMETER_SERVER: num_ps,
            roles.WORKER: num_workers,
            roles.CHIEF: 1,
        }
        # In the order of their starts.
        self._roles = [
            (role, index)
            for role, count in self._counts.items()
            for index in range(count)
        ]
        if evaluator:
            self._roles.append(_EVALUATOR)
        self._server_command = None
        if mode == KERAS:
            self._server_command = [
                *(sys.executable, "-m", "monolith_tf.cluster"),
                *(f"--import_module={module}" for module in modules),
            ]
        self._restarts = RestartWindow(max_restarts)
        self._heartbeat_timeout_seconds = heartbeat_timeout_seconds
        self._progress_timeout_seconds = progress_timeout_seconds
        self._drain_seconds = drain_seconds
        self._log_directory = log_directory
        self._serves_metrics = metrics
        self._on_output = on_output
        self._output: LogTail | None = None
        self._monitor: HeartbeatMonitor | None = None
        self._processes: RoleProcesses | None = None
        # Roles that ran the program when a server died, so may fail for it.
        self._may_fail: set[Role] = set()
        # True while the chief has ended, and not all servers listen.
        self._chief_waits = False
        # When a chief that lost a server has to have ended.
        self._chief_deadline: float | None = None
        self._progress: ProgressWatch | None = None
        # Killed, and not seen to have ended yet.
        self._killed: set[int] = set()
        self._signals: list[int] = []

    @property
    def log_directory(self) -> pathlib.Path | None:
        """Folder of the logs; None before `run` if none was passed."""
        return self._log_directory and pathlib.Path(self._log_directory)

    def run(self) -> int:
        """Runs the job to its end; call it in the main thread.

        SIGINT and SIGTERM stop all processes. After SIGTERM the chief has
        `drain_seconds` to leave while the others still serve it; a second
        signal ends that.

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
            with contextlib.ExitStack() as stack:
                self._prepare(stack)
                return self._supervise()
        finally:
            self._show_output()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _prepare(self, stack: contextlib.ExitStack) -> None:
        """Picks the ports; `stack` ends what it starts."""
        if self._heartbeat_timeout_seconds:
            self._monitor = HeartbeatMonitor(
                self._heartbeat_timeout_seconds,
                read_step=lambda: read_step(self._processes.progress_file),
            )
        self._processes = RoleProcesses(
            self._program,
            self._server_command,
            self._counts,
            self._roles,
            self.log_directory,
            serves_metrics=self._serves_metrics,
            monitor=self._monitor,
        )
        self._progress = ProgressWatch(
            self._processes.progress_file, self._progress_timeout_seconds
        )
        if self._on_output is not None:
            self._output = LogTail(self._processes.log_of(_CHIEF))
        if self._processes.launcher_port is not None:
            stack.enter_context(
                serve_heartbeat_metrics(self._processes.launcher_port)
            )
        stack.callback(self._processes.stop)
        if self._monitor is not None:
            # Closed first: the end of the job is not to be reported.
            stack.enter_context(self._monitor)

    def _supervise(self) -> int:
        """Starts all roles, and looks at them until the job ends."""
        for role in self._roles:
            if self._mode == KERAS and role == _CHIEF:
                self._chief_waits = True
            else:
                self._processes.start(role)
        while not self._signals:
            code = self._look()
            self._show_output()
            if code is not None:
                return code
            time.sleep(_LOOK_SECONDS)
        if self._signals[0] == signal.SIGTERM:
            self._drain()
        _log.info("signal %d: stopping", self._signals[0])
        return 128 + self._signals[0]

    def _interrupt(self, number, frame) -> None:
        del frame
        self._signals.append(number)

    def _drain(self) -> None:
        """Lets the chief leave while the others still serve it."""
        chief = self._children.get(_CHIEF)
        if chief is None or not chief.is_running():
            return
        _log.info(
            "SIGTERM: %s has %g s to leave (--drain_seconds)",
            chief.name,
            self._drain_seconds,
        )
        chief.terminate()
        deadline = time.monotonic() + self._drain_seconds
        while chief.is_running() and len(self._signals) == 1:
            if time.monotonic() > deadline:
                _log.warning("%s has not left", chief.name)
                return
            self._kill_silent()
            self._show_output()
            time.sleep(_LOOK_SECONDS)

    @property
    def _children(self) -> dict[Role, ChildProcess]:
        return self._processes.children

    def _look(self) -> int | None:
        """Checks all processes once; returns the exit code of an ended job."""
        self._kill_silent()
        self._kill_chief_without_progress()
        # Checked from the chief back to the servers, and handled in the reverse
        # order: so the server whose death ended the chief is found, too.
        ended = [
            role
            for role in reversed(self._roles)
            if role in self._children and not self._children[role].is_running()
        ]
        if _CHIEF in ended and self._children[_CHIEF].wait() == 0:
            self._finish()
            return 0
        for role in reversed(ended):
            child = self._children[role]
            code = child.wait()
            if self._mode == ESTIMATOR and code == 0:
                if role[0] != roles.PARAMETER_SERVER:
                    self._processes.forget(role)
                    _log.info("%s finished", child.name)
                    continue
            job_code = self._handle_death(role, child, code)
            if job_code is not None:
                return job_code
        self._kill_chief_of_lost_server()
        self._start_waiting_chief()
        return None

    def _kill_silent(self) -> None:
        """Kills processes that hang; they count as dead once they ended."""
        if self._monitor is None:
            return
        for child in self._children.values():
            health = self._monitor.health(child.name)
            if health.state in (HUNG, PARTITIONED):
                self._kill(
                    child,
                    f"it is {health.state}, and has to answer within "
                    f"{self._heartbeat_timeout_seconds:g} s "
                    "(--heartbeat_timeout_seconds)",
                )

    def _kill_chief_without_progress(self) -> None:
        stalled = self._progress.look()
        if stalled is not None and _CHIEF in self._children:
            self._kill(
                self._children[_CHIEF],
                f"it is hung: {stalled} (--progress_timeout_seconds)",
            )

    def _kill_chief_of_lost_server(self) -> None:
        if self._chief_deadline is None or _CHIEF not in self._children:
            return
        if time.monotonic() > self._chief_deadline:
            self._kill(
                self._children[_CHIEF],
                f"it still runs {_CHIEF_SECONDS:g} s after its server died",
            )

    def _kill(self, child: ChildProcess, reason: str) -> None:
        # One that is blocked in the kernel may end much later.
        if child.pid not in self._killed and child.is_running():
            self._killed.add(child.pid)
            _log.warning("killing %s: %s", child.name, reason)
            child.kill()

    def _handle_death(self, role, child, code: int) -> int | None:
        """Restarts processes; returns the exit code if the job ends."""
        name = role[0]
        self._killed.discard(child.pid)
        try:
            child.check()
        except ProcessError as error:
            _log.warning("%s", error)
        if role == _CHIEF and self._chief_deadline is not None:
            # Its server died, which counts as a restart of that.
            _log.info("%s exited with code %d", child.name, code)
            self._await_servers()
            return None
        runs_program = self._mode == ESTIMATOR or name == roles.CHIEF
        if name == roles.PARAMETER_SERVER:
            self._may_fail = {
                other for other in self._children if other[0] != name
            }
        elif runs_program and code > 0 and code != EXIT_RESTART:
            if role not in self._may_fail:
                _log.error(
                    "%s failed with exit code %d; stopping", child.name, code
                )
                return code
        if self._restarts.is_exhausted(role):
            return self._give_up(role, child, code)
        is_alone = self._mode == ESTIMATOR or name == roles.WORKER
        takes_chief = not is_alone and name == roles.PARAMETER_SERVER
        _log.warning(
            "restarting %s%s: restart %d of at most %d per hour%s",
            child.name,
            " and the chief" if takes_chief else "",
            self._restarts.add(role),
            self._restarts.limit,
            "" if is_alone else _RESUMES,
        )
        self._may_fail.discard(role)
        if is_alone:
            self._processes.start(role)
        elif role == _CHIEF:
            self._await_servers()
        else:
            self._processes.start(role)
            self._part_with_chief()
        return None

    def _give_up(self, role, child, code: int) -> int | None:
        """Returns the exit code, or None if the others continue."""
        limit = self._restarts.limit
        if role[0] == roles.WORKER:
            self._processes.forget(role)
            if any(other == roles.WORKER for other, _ in self._children):
                _log.warning(
                    "%s is left out after %d restarts per hour; training "
                    "continues without it",
                    child.name,
                    limit,
                )
                return None
        _log.error(
            "%s died after %d restarts per hour (--max_restarts); stopping",
            child.name,
            limit,
        )
        return code if code > 0 else 1

    def _part_with_chief(self) -> None:
        """Gives the chief that lost a server some time to end by itself.

        TensorFlow cannot connect a chief to another life of a server: its
        context, and all variables and tables there, are those of the last one.
        A chief whose own port is not open yet is not connected, and finds the
        new one.
        """
        chief = self._children.get(_CHIEF)
        if chief is None:
            return  # It waits for the servers already.
        # One that has ended noticed first.
        if not chief.is_running() or self._processes.refusal(_CHIEF) is None:
            self._chief_deadline = time.monotonic() + _CHIEF_SECONDS

    def _await_servers(self) -> None:
        """Lets the chief start again when all servers listen."""
        self._processes.forget(_CHIEF)
        self._may_fail.discard(_CHIEF)
        self._chief_deadline = None
        self._chief_waits = True
        # It connects to all, so those that were left out have to be there.
        for role in self._roles:
            if role != _CHIEF and role not in self._children:
                self._processes.start(role)

    def _start_waiting_chief(self) -> None:
        if not self._chief_waits:
            return
        for role, child in self._children.items():
            refusal = self._processes.refusal(role)
            if refusal is None:
                continue
            if child.age_seconds > _START_SECONDS:
                _log.warning("%s", refusal)
                self._kill(child, "it does not serve")
            return
        self._chief_waits = False
        self._processes.start(_CHIEF)

    def _finish(self) -> None:
        """Waits for the other roles that run the program."""
        _log.info("chief 0 finished")
        if self._mode != ESTIMATOR:
            return
        deadline = time.monotonic() + _FINISH_SECONDS
        for (name, _), child in self._children.items():
            if name in (roles.PARAMETER_SERVER, roles.CHIEF):
                continue
            while child.is_running() and not self._signals:
                self._kill_silent()
                if time.monotonic() > deadline:
                    _log.warning(
                        "%s still runs %g s after the chief; stopping it",
                        child.name,
                        _FINISH_SECONDS,
                    )
                    return
                time.sleep(_LOOK_SECONDS)

    def _show_output(self) -> None:
        if self._output is None:
            return
        text = self._output.read()
        if text:
            self._on_output(text)
