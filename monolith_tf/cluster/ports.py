"""Free TCP ports of this machine."""

from __future__ import annotations

import random
import socket

# Below the ports that Linux assigns to outgoing connections (32768 and up), so
# that none of them takes a port between this call and the start of the server.
# Above the ports of well-known services.
_FIRST, _LAST = 15_000, 32_000
_MAX_TRIES = 1000


def pick_free_ports(count: int) -> list[int]:
    """Returns distinct ports without a listener.

    Ports are not reserved: start the servers soon, and report "address in use"
    as an error.

    Args:
        count: Number of ports, at least 0.

    Returns:
        The ports.

    Raises:
        OSError: There are not enough free ports.

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
            f"{_MAX_TRIES} tries found no {count} free ports between {_FIRST} "
            f"and {_LAST}. Stop the servers that use them."
        )
    finally:
        for each in held:
            each.close()
