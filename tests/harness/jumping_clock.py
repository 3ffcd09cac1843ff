"""The wall clock of one process, which jumps while it runs.

A program calls `install` before it imports what reads the clock. Then
`time.time` of Python jumps, and monotonic clocks go on as they are. C++ keeps
its clock: absolute waits of TensorFlow and gRPC compare it with the kernel's,
which would not jump. (libfaketime has that fault, and makes `time.sleep` fail.)
"""

from __future__ import annotations

import os
import pathlib
import time

_VARIABLE = "JUMPING_CLOCK"


class JumpingClock:
    """Controls the clock of a process.

    Args:
        directory: Where the file that holds the offset is.

    Attributes:
        environment: Variables for the process.
    """

    def __init__(self, directory: pathlib.Path):
        """The clock is right at first."""
        self._file = pathlib.Path(directory) / "clock"
        self.environment = {_VARIABLE: str(self._file)}
        self.jump(0)

    def jump(self, seconds: float) -> None:
        """Sets the clock to this many seconds after the right time."""
        partial = self._file.with_suffix(".partial")
        partial.write_text(f"{seconds}\n")
        partial.rename(self._file)


def install() -> None:
    """Makes `time.time` of this process follow its `JumpingClock`."""
    file = pathlib.Path(os.environ[_VARIABLE])
    right_time = time.time

    def now() -> float:
        return right_time() + float(file.read_text())

    time.time = now
