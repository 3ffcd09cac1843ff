"""Child processes with a log file that never outlive their parent."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from monolith_tf import failpoints
from monolith_tf.errors import MonolithError

_LAUNCH = pathlib.Path(__file__).with_name("launch.py")
_TAIL_LINES = 20
_TAIL_BYTES = 16_384


class ProcessError(MonolithError):
    """A child process died, or did not answer in time."""


class ChildProcess:
    """A running command whose output goes to a file.

    The command runs in its own session: Ctrl-C in the terminal reaches the
    parent only, which then stops its children in order. On Linux the kernel
    kills the command when the thread that started it ends for any reason. Start
    it from a thread that lives as long as the child is needed.

    Args:
        name: Name in errors, such as "worker 0".
        command: Program and arguments.
        log_path: File to which standard output and error are appended; its
            folder must exist.
        environment: Variables to add to those of this process.

    Raises:
        OSError: The process cannot be started.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with ChildProcess("date", ["date"], f"{folder}/log") as child:
    ...         child.wait(timeout_seconds=10)
    0
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_path: str | os.PathLike[str],
        environment: Mapping[str, str] | None = None,
    ):
        """Starts the command."""
        self.name = name
        self.log_path = pathlib.Path(log_path)
        self._started = time.monotonic()
        launch = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid())]
        failpoints.hit("child_process.before_log")
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                [*launch, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group."""
        return self._process.pid

    def __enter__(self) -> ChildProcess:
        """Returns itself; the end of the block stops the command."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops the command."""
        self.stop()

    def is_running(self) -> bool:
        """Returns True if the command has not ended."""
        return self._process.poll() is None

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Waits for the end and returns the exit code, -n for signal n.

        Raises:
            ProcessError: It still runs after `timeout_seconds`.
        """
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ProcessError(
                f"{self.name} still runs after {timeout_seconds:g} s; expected "
                f"it to end. {self._last_lines()}"
            ) from None

    def check(self) -> None:
        """Raises if the command has ended.

        Raises:
            ProcessError: The command has ended; the message has the exit code
                and the end of the log.
        """
        code = self._process.poll()
        if code is None:
            return
        ending = f"exited with code {code}"
        if code < 0:
            ending = f"was killed by {signal.Signals(-code).name}"
        raise ProcessError(
            f"{self.name} (process {self.pid}) {ending}; expected it to run. "
            f"{self._last_lines()}"
        )

    @property
    def age_seconds(self) -> float:
        """Time since its start."""
        return time.monotonic() - self._started

    def refusal(self, port: int) -> ProcessError | None:
        """Tries to connect to a port of this machine, once.

        Args:
            port: TCP port that the command will listen on.

        Returns:
            None if it listens; else an error with the end of the log.
        """
        try:
            socket.create_connection(("localhost", port), 1.0).close()
        except OSError as error:
            return ProcessError(
                f"{self.name} (process {self.pid}) does not answer on port "
                f"{port} {self.age_seconds:.1f} s after its start: {error}. "
                "Give it more time, or read its log. "
                f"{self._last_lines()}"
            )
        return None

    def wait_until_reachable(self, port: int, timeout_seconds: float) -> None:
        """Waits until the command listens on a port of this machine.

        Args:
            port: TCP port.
            timeout_seconds: Longest wait.

        Raises:
            ProcessError: The command ends first, or the time is over.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.check()
            refusal = self.refusal(port)
            if refusal is None:
                return
            if time.monotonic() > deadline:
                raise refusal
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Stops the command and its process group, if it runs.

        Args:
            grace_seconds: Time to end after SIGTERM before it is killed.
        """
        stop_all([self], grace_seconds)

    def terminate(self) -> None:
        """Asks the command and its process group to end, if it runs."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the command and its process group at once, if it runs.

        A stopped process ends too.
        """
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, number)

    def _last_lines(self) -> str:
        with open(self.log_path, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        if not lines:
            return f"Its log {self.log_path} is empty."
        tail = "\n  ".join(lines[-_TAIL_LINES:])
        return f"The end of its log {self.log_path}:\n  {tail}"


def stop_all(
    children: Iterable[ChildProcess], grace_seconds: float = 5.0
) -> None:
    """Stops children together: SIGTERM to all, then SIGKILL to the rest.

    Args:
        children: The processes; those that have ended are skipped.
        grace_seconds: Time for all of them to end after SIGTERM.
    """
    children = list(children)
    try:
        for child in children:
            child._signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        for child in children:
            try:
                child._process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
    finally:
        # Also after a second Ctrl-C.
        for child in children:
            child._signal(signal.SIGKILL)
        for child in children:
            child._process.wait()
