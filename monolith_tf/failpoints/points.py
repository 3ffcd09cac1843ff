"""Hits of failpoints, and the faults that they inject."""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Iterator

from monolith_tf.failpoints import spec as spec_lib


class FailpointError(RuntimeError):
    """The error that the action "raise" injects."""


class _Plan:
    """Active failpoints and the number of hits of each name."""

    def __init__(self, failpoints: tuple[spec_lib.Failpoint, ...]):
        self._failpoints = failpoints
        self._names = frozenset(one.name for one in failpoints)
        self._hits = collections.Counter()
        self._lock = threading.Lock()

    def hit(self, name: str) -> None:
        if name not in self._names:
            return
        with self._lock:
            self._hits[name] += 1
            number = self._hits[name]
        for one in self._failpoints:
            if one.name == name and one.hit in (0, number):
                _inject(one, number)
                return


# None unless failpoints are active, so that a hit costs one comparison.
_plan: _Plan | None = None


def hit(name: str) -> None:
    """Marks a place where a test can inject a fault.

    Args:
        name: Name of the place, a literal: `<noun>.<moment>`.

    Raises:
        FailpointError: The action is "raise".
        OSError: The action is "enospc" or "eio".
    """
    if _plan is not None:
        _plan.hit(name)


@contextlib.contextmanager
def fail_at(spec: str) -> Iterator[None]:
    """Activates failpoints of Python in this process, for a test.

    Args:
        spec: As for MONOLITH_TF_FAIL_AT. Hits count from 1.

    Raises:
        ValueError: `spec` is malformed.

    Example:
    >>> with fail_at("delta_log.after_rename:1:eio"):
    ...     hit("delta_log.after_rename")
    Traceback (most recent call last):
    OSError: [Errno 5] Input/output error: 'failpoint delta_log.after_rename'
    """
    global _plan
    before, _plan = _plan, _Plan(spec_lib.parse(spec))
    try:
        yield
    finally:
        _plan = before


def _inject(failpoint: spec_lib.Failpoint, number: int) -> None:
    # Written at once and whole: `kill` flushes no buffer, and a log that
    # several processes share is counted by line.
    line = f"FAILPOINT {failpoint.name} hit {number}: {failpoint.action}\n"
    os.write(2, line.encode())
    if failpoint.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif failpoint.action == "sleep":
        time.sleep(failpoint.sleep_seconds)
    elif failpoint.action == "raise":
        raise FailpointError(f"failpoint {failpoint.name}, hit {number}")
    else:
        code = errno.ENOSPC if failpoint.action == "enospc" else errno.EIO
        raise OSError(code, os.strerror(code), f"failpoint {failpoint.name}")


def _activate_from_environment() -> None:
    global _plan
    failpoints = spec_lib.parse(os.environ.get(spec_lib.VARIABLE, ""))
    if failpoints:
        _plan = _Plan(failpoints)


_activate_from_environment()
