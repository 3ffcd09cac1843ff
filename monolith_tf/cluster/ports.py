"""Free TCP ports of this machine."""

from __future__ import annotations

import random
import socket

# Below the range from which Linux takes the ports of outgoing connections
# (32768 and up), so that none of those lands on a port between this call and
# the server's start. Above the ports of well-known services.
_FIRST, _LAST = 15_000, 32_000
_MAX_TRIES = 1000


def pick_free_ports(count: int) -> list[int]:
    """Returns distinct ports on which nobody listens now.

    Ports are not reserved: start the servers soon, and treat "address in use"
    as an error to show.

    Args:
        count: How many, at least 0.

    Returns:
        The ports.

    Raises:
        OSError: If no free port was found.

    Example:
    >>> len(set(pick_free_ports(3)))
    3
    """
    held: list[socket.socket] = []
    try:
        for _ in range(_MAX_TRIES):
            if len(held) == count:
                return [each.getsockname()[1] for each in held]
            candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(candidate)
            try:
                candidate.bind(
                    ("", random.SystemRandom().randint(_FIRST, _LAST))
                )
            except OSError:
                held.pop().close()
        raise OSError(
            f"no {count} free ports between {_FIRST} and {_LAST} in "
            f"{_MAX_TRIES} tries; end the servers that hold them"
        )
    finally:
        for each in held:
            each.close()
