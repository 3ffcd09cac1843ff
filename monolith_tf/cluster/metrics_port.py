"""Port of the Prometheus metrics of a process of a job."""

from __future__ import annotations

import os

PORT_VARIABLE = "MONOLITH_TF_METRICS_PORT"


def metrics_port() -> int | None:
    """Reads the port that `monolith-tf launch --metrics` or the user chose.

    Returns:
        Value of the environment variable `MONOLITH_TF_METRICS_PORT`, 1 to
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
            f"{PORT_VARIABLE} needs a port, 1 to 65535. Received: {text!r}."
        )
    return int(text)
