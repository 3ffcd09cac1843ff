"""State and processor time of a process of this machine."""

from __future__ import annotations

import dataclasses
import pathlib

STOPPED = "stopped"
BLOCKED = "blocked"
RUNNING = "running"
SLEEPING = "sleeping"
GONE = "gone"

# The letters of Linux, proc(5). Any other letter is a sleep.
_STATES = {
    "T": STOPPED,
    "t": STOPPED,
    "D": BLOCKED,
    "R": RUNNING,
    "Z": GONE,
    "X": GONE,
    "x": GONE,
}


@dataclasses.dataclass(frozen=True)
class ProcessState:
    """A reading of /proc/PID/stat.

    Attributes:
        state: "stopped" (SIGSTOP, or a debugger), "blocked" (in the kernel, as
            by a disk that does not answer), "running", "sleeping" or "gone".
            That of the first thread, except that a thread that wants to run
            makes a sleeping process running.
        cpu_ticks: Processor time of all threads, in ticks of the kernel.
    """

    state: str
    cpu_ticks: int = 0


def read_process_state(pid: int) -> ProcessState | None:
    """Reads the state of a process.

    Args:
        pid: Process id.

    Returns:
        Its state, "gone" if it has ended; None where there is no /proc.

    Example:
    >>> import os
    >>> read_process_state(os.getpid()).state
    'running'
    """
    folder = pathlib.Path("/proc", str(pid))
    if not pathlib.Path("/proc/self/stat").exists():
        return None
    try:
        fields = _fields(folder)
        state = _STATES.get(fields[0], SLEEPING)
        if state == SLEEPING and any(
            _fields(task)[0] == "R" for task in (folder / "task").iterdir()
        ):
            state = RUNNING
    except OSError:
        # It, or a thread of it, ended meanwhile.
        return _read_first_thread(folder)
    return ProcessState(state, int(fields[11]) + int(fields[12]))


def _read_first_thread(folder: pathlib.Path) -> ProcessState:
    try:
        fields = _fields(folder)
    except OSError:
        return ProcessState(GONE)
    ticks = int(fields[11]) + int(fields[12])
    return ProcessState(_STATES.get(fields[0], SLEEPING), ticks)


def _fields(folder: pathlib.Path) -> list[str]:
    """Returns the fields after the name, which may contain anything."""
    text = (folder / "stat").read_text(errors="replace")
    return text.rpartition(")")[2].split()
