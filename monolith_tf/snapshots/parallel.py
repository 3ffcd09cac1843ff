"""Calls of all servers at the same time."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any


def in_parallel(function: Callable[..., Any], calls: list[tuple]) -> list[Any]:
    """Calls a function once per tuple of arguments, all at the same time.

    Args:
        function: Any function.
        calls: The arguments of each call.

    Returns:
        The results, in order.

    Raises:
        Exception: The first error, when all calls have ended.

    Example:
    >>> in_parallel(pow, [(2, 3), (3, 2)])
    [8, 9]
    """
    if len(calls) == 1:
        return [function(*calls[0])]
    with concurrent.futures.ThreadPoolExecutor(max(1, len(calls))) as pool:
        futures = [pool.submit(function, *call) for call in calls]
        concurrent.futures.wait(futures)
    return [future.result() for future in futures]
