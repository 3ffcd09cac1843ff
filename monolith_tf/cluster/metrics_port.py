"""The port that a process of a job serves its Prometheus metrics on."""

from __future__ import annotations

import os

PORT_VARIABLE = "MONOLITH_TF_METRICS_PORT"


def metrics_port() -> int | None:
    """Reads the port that `monolith-tf launch --metrics`, or you, chose.

    Returns:
        What the environment variable `MONOLITH_TF_METRICS_PORT` says, 1 to
        65535; None if it is not set or empty.

    Raises:
        ValueError: The variable is not a port.

    Example:
    >>> os.environ["MONOLITH_TF_METRICS_PORT"] = "9100"
    >>> metrics_port()
    9100
    >>> del os.environ["MONOLITH_TF_METRICS_PORT"]
    """
    text = os.environ.get(PORT_VARIABLE)
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise ValueError(
            f"{PORT_VARIABLE} is {text!r}; expected a port, 1 to 65535."
        )
    return int(text)
