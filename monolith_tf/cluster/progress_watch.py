"""A limit of the time in which a chief finishes no step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from monolith_tf.cluster.progress import Progress
from monolith_tf.cluster.progress import read_progress

# Looks are more frequent; a longer gap is a pause of this process.
_LATE_SECONDS = 2.0


class ProgressWatch:
    """Finds out that the step of a chief does not move.

    The time runs from the first report of a chief on, and again from each that
    is different. A time in which nobody looked does not count.

    Args:
        path: The file of `read_progress`; without it, no time runs.
        timeout_seconds: Allowed time; 0 for no limit.
        clock: Returns seconds that never go back.

    Example:
    >>> ProgressWatch("no/such/file", timeout_seconds=60.0).look()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Reads nothing yet."""
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._progress: Progress | None = None
        self._moved = self._looked = clock()

    def look(self) -> str | None:
        """Looks once; call it more often than once per second.

        Returns:
            None, or a description of a chief that is over its time.
        """
        if not self._timeout_seconds:
            return None
        now = self._clock()
        if now - self._looked > _LATE_SECONDS:
            self._moved += now - self._looked
        self._looked = now
        progress = read_progress(self._path)
        if progress is None or progress.has_moved_since(self._progress):
            self._progress, self._moved = progress, now
            return None
        seconds = now - self._moved
        if seconds < self._timeout_seconds:
            return None
        return (
            f"no step in {seconds:.0f} s; last known step {progress.step}, "
            f"{progress.calls} calls of workers"
        )
