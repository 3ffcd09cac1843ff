"""Faults of processes: death, pauses, and clocks that jump."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import signal
from collections.abc import Iterator

import processes

_LIBRARIES = "/usr/lib/*/faketime/libfaketime.so.1"


def kill(pid: int) -> None:
    """Ends a process at once."""
    os.kill(pid, signal.SIGKILL)


def terminate(pid: int) -> None:
    """Asks a process to end."""
    os.kill(pid, signal.SIGTERM)


def state(pid: int) -> str:
    """Returns the letter of a process's state, such as "T" if it is stopped."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text.rpartition(")")[2].split()[0]


def stop(pid: int) -> None:
    """Pauses all threads of a process; returns when they are paused."""
    os.kill(pid, signal.SIGSTOP)
    processes.wait_until(lambda: state(pid) == "T")


def resume(pid: int) -> None:
    """Ends a pause."""
    os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Pauses a process during the block."""
    stop(pid)
    try:
        yield
    finally:
        resume(pid)


class JumpingClock:
    """The wall clock of one process, which jumps on request.

    It needs libfaketime, of Debian's package `libfaketime`. Monotonic clocks go
    on as they are.

    Args:
        directory: Where the file that controls the clock is.

    Attributes:
        environment: Variables for the process.
    """

    def __init__(self, directory: pathlib.Path):
        """Finds the library; the clock is right at first."""
        found = glob.glob(_LIBRARIES)
        if not found:
            raise FileNotFoundError(
                f"A clock that jumps needs libfaketime. Expected: {_LIBRARIES}."
                " Install it: apt-get install libfaketime."
            )
        self._file = pathlib.Path(directory) / "clock"
        self.environment = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.jump(0)

    def jump(self, seconds: float) -> None:
        """Sets the clock to this many seconds after the right time."""
        partial = self._file.with_suffix(".partial")
        partial.write_text(f"{seconds:+.0f}\n")
        partial.rename(self._file)
