"""Starts the processes of tests, reads what they say, and waits for them.

pytest puts this folder on `sys.path` (`pythonpath` in pyproject.toml), so a
test imports `processes`. A deadline ends only a test that hangs: none measures
speed, and a busy machine fails no test.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

DEADLINE_SECONDS = 600.0
# How many characters of a failed process a test shows.
SHOWN = 8000
# -P: `python -m` in a checkout would find the source tree before the package.
PYTHON = (sys.executable, "-P")
MONOLITH_TF = (*PYTHON, "-m", "monolith_tf")


def wait_until(condition, is_alive=lambda: True):
    """Waits until `condition()` holds.

    Args:
        condition: Function that returns a bool.
        is_alive: Function that returns False once waiting is in vain.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    pause = threading.Event()
    while not condition():
        assert is_alive(), "ended before the condition held"
        assert time.monotonic() < deadline, "the condition never held"
        pause.wait(0.01)


def run(command, code=0, **options):
    """Runs a command to its end and returns it, with what it printed.

    Args:
        command: Program and arguments, of any type that has a str().
        code: Expected exit code; None accepts every code.
        **options: Arguments of `subprocess.run`, such as `cwd` and `env`.
    """
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        **options,
    )
    if code is not None:
        said = done.stdout[-SHOWN:] + done.stderr[-SHOWN:]
        assert done.returncode == code, f"exit {done.returncode}\n{said}"
    return done


class LaunchedJob:
    """`monolith-tf launch` in the background, and what it said so far.

    Args:
        directory: Working directory of the job; logs go to its `logs/`.
        *flags_and_program: Flags of `monolith-tf launch`, then the program
            of the roles with its arguments.
        environment: Variables to add to those of this process.

    Attributes:
        process: The launcher.
        lines: What it and the chief said so far.
    """

    def __init__(self, directory, *flags_and_program, environment=None):
        self.process = subprocess.Popen(
            [
                *(*MONOLITH_TF, "launch"),
                f"--log_dir={pathlib.Path(directory) / 'logs'}",
                *map(str, flags_and_program),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            env={**os.environ, **(environment or {})},
        )
        self.lines = []

    def _read_line(self):
        """Returns the next line, empty at the end."""
        timer = threading.Timer(DEADLINE_SECONDS, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if line:
            self.lines.append(line.rstrip())
        return line

    def read_until(self, text):
        """Returns the next line that has `text` in it."""
        while line := self._read_line():
            if text in line:
                return line
        raise AssertionError(f"no {text!r} after\n{self.text()}")

    def pid(self, name):
        """Returns the process that runs in the place of `name` now."""
        found = re.findall(rf"{name} started: process (\d+)", self.text())
        return int(found[-1])

    def finish(self, code=0):
        """Reads to the end; the job must end with this exit code."""
        while self._read_line():
            pass
        assert self.process.wait(DEADLINE_SECONDS) == code, self.text()

    def is_running(self):
        """Returns if the launcher has not ended."""
        return self.process.poll() is None

    def text(self):
        """Returns all lines so far."""
        return "\n".join(self.lines)

    def kill(self, name):
        """Kills the process that runs in the place of `name` now."""
        os.kill(self.pid(name), signal.SIGKILL)

    def close(self):
        """Ends the launcher, and with it the processes it started."""
        self.process.terminate()
        try:
            self.process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
