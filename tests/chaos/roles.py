"""Processes of a chaos run: what they print, and how they end."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import threading

import processes
from monolith_tf.cluster import launch

HARNESS = pathlib.Path(processes.__file__).parent


class Role:
    """A process, which a supervisor starts again whenever it ends.

    Args:
        name: Its name in logs.
        command: Program and arguments.
        log: File that gets what it says on standard error; None to have it
            among its lines.
        environment: Additional variables.
    """

    def __init__(
        self, name: str, command, log: pathlib.Path | None, environment=None
    ):
        """Starts the process."""
        self.name = name
        self._lines = []
        self._told = threading.Condition()
        with contextlib.ExitStack() as stack:
            errors = subprocess.STDOUT
            if log is not None:
                errors = stack.enter_context(open(log, "ab"))
            self.process = subprocess.Popen(
                [
                    # The kernel kills it with this process.
                    *(sys.executable, "-I", "-S", launch.__file__),
                    *(str(os.getpid()), *map(str, command)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={
                    **os.environ,
                    "PYTHONPATH": str(HARNESS),
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                    **(environment or {}),
                },
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def lines(self) -> list[str]:
        """The lines of its standard output so far."""
        with self._told:
            return list(self._lines)

    def is_running(self) -> bool:
        """Returns True until it has ended."""
        return self.process.poll() is None

    def wait_for(self, text: str, seconds: float) -> str | None:
        """Waits for a line with a text in it.

        Returns:
            The line; None if the process ends or the time is over first.
        """

        def found():
            return next((line for line in self._lines if text in line), None)

        with self._told:
            self._told.wait_for(
                lambda: found() or not self._reader.is_alive(), seconds
            )
            return found()

    def say(self, line: str) -> None:
        """Writes a line to its standard input, if it still reads."""
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError:
            # Its end is handled where it is looked for.
            pass

    def end(self, signal_number: int) -> None:
        """Sends a signal and waits for the end."""
        if self.is_running():
            self.process.send_signal(signal_number)
        self.process.wait(processes.DEADLINE_SECONDS)
        self._reader.join()
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except OSError:
            pass

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._told:
                self._lines.append(line.rstrip())
                self._told.notify_all()
        with self._told:
            self._told.notify_all()
