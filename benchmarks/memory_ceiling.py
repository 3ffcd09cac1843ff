"""Memory ceiling: builds and runs benchmarks/cc/memory_ceiling.cc."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Mapping

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_SOURCE = _ROOT / "benchmarks/cc/memory_ceiling.cc"
_LINE_BYTES = 64

# Bytes in front of the weights of a record: the id; time and cut.
HEADER_BYTES = {"tracked": 16, "untracked": 8}


@functools.cache
def build() -> pathlib.Path:
    """Compiles the program, unless it is newer than its source.

    Raises:
        RuntimeError: There is no compiler, or it fails.
    """
    program = _ROOT / ".build/memory_ceiling"
    if program.exists() and program.stat().st_mtime > _SOURCE.stat().st_mtime:
        return program
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if not compiler:
        raise RuntimeError("No C++ compiler found: set CXX, or install g++.")
    program.parent.mkdir(parents=True, exist_ok=True)
    command = [*compiler.split(), "-O3", "-std=c++17", "-pthread"]
    done = subprocess.run(
        [*command, str(_SOURCE), "-o", str(program)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{compiler} fails on {_SOURCE}:\n{done.stderr}")
    return program


def measure(
    *, threads: int, mib: int, row_bytes: int, accesses: int
) -> dict[str, float | dict[str, float]]:
    """Runs the program.

    Args:
        threads: How many threads.
        mib: Size of the block of memory.
        row_bytes: Of `gather`.
        accesses: Of each thread, each of five times.

    Returns:
        Millions a second over all threads: lines, lines_4k, lines_write,
        gather, each by the clock ("wall") and by processor seconds ("cpu").
    """
    done = subprocess.run(
        [
            str(build()),
            f"--threads={threads}",
            f"--mib={mib}",
            f"--row_bytes={row_bytes}",
            f"--accesses={accesses}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def lines_of(stride: int, num_bytes: int) -> float:
    """Returns the 64-byte lines that the first bytes of a record lie in.

    Args:
        stride: Bytes from record to record; the first starts on a line.
        num_bytes: How many bytes of a record are touched.

    Returns:
        The average over records.

    Example:
    >>> lines_of(144, 80)
    2.0
    """
    starts = [record * stride for record in range(_LINE_BYTES)]
    spans = [
        (start + num_bytes - 1) // _LINE_BYTES - start // _LINE_BYTES + 1
        for start in starts
    ]
    return sum(spans) / len(spans)


def ids_a_second(
    ceiling: Mapping[str, Mapping[str, float]],
    clock: str,
    *,
    lines_read: float,
    lines_written: float = 0.0,
) -> float:
    """Returns the millions of ids a second that lines alone would allow.

    Args:
        ceiling: What `measure` returned.
        clock: "wall" or "cpu".
        lines_read: Lines of an id that are read only.
        lines_written: Lines of an id that are read and written.
    """
    microseconds = (
        lines_read / ceiling["lines"][clock]
        + lines_written / ceiling["lines_write"][clock]
    )
    return 1 / microseconds
