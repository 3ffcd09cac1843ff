"""The number of restarts of each process in the last hour."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from collections.abc import Hashable


class RestartWindow:
    """Counts restarts in a sliding window.

    A service that loses a process once a month never reaches a limit of
    restarts per hour; a process that cannot start reaches it in minutes.

    Args:
        limit: Allowed restarts per process and window, at least 0.
        window_seconds: Length of the window.
        clock: Returns seconds that never go back.

    Example:
    >>> restarts = RestartWindow(limit=1)
    >>> restarts.add("ps 0")
    1
    >>> restarts.is_exhausted("ps 0"), restarts.is_exhausted("ps 1")
    (True, False)
    """

    def __init__(
        self,
        limit: int,
        window_seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Begins with no restart."""
        self.limit = limit
        self._window_seconds = window_seconds
        self._clock = clock
        # Never longer than the limit: a caller asks before it adds.
        self._times: dict[Hashable, collections.deque[float]] = (
            collections.defaultdict(lambda: collections.deque(maxlen=limit))
        )

    def is_exhausted(self, process: Hashable) -> bool:
        """Returns True if a process had all restarts that it may have now."""
        return self._count(process) >= self.limit

    def add(self, process: Hashable) -> int:
        """Counts a restart; returns the number of those in the window."""
        self._times[process].append(self._clock())
        return self._count(process)

    def _count(self, process: Hashable) -> int:
        times = self._times[process]
        oldest = self._clock() - self._window_seconds
        while times and times[0] <= oldest:
            times.popleft()
        return len(times)
