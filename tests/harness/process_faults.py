"""Faults of processes: death and pauses."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
from collections.abc import Iterator

import processes


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
