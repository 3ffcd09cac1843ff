"""Prometheus metrics of a worker or a parameter server."""

from __future__ import annotations

import os
from collections.abc import Iterator

from monolith_tf import ops

PORT_VARIABLE = "MONOLITH_TF_METRICS_PORT"
_NUMBERS = (
    ("calls", "Calls of {op} on this server.", 1.0),
    ("ids", "Ids in calls of {op}.", 1.0),
    ("bytes", "Bytes in and out of calls of {op}.", 1.0),
    ("seconds", "Seconds inside {op}.", 1e-9),
)


class ServerCollector:
    """A Prometheus collector of what this process did for its clients.

    Counters `monolith_server_OP_calls`, `_ids`, `_bytes` and `_seconds`, where
    OP is `lookup` or `apply`. The seconds are those inside the op; with the
    steps of the chief they say which part of a step the tables take.

    Example:
    >>> import prometheus_client
    >>> registry = prometheus_client.CollectorRegistry()
    >>> registry.register(ServerCollector())
    >>> registry.get_sample_value("monolith_server_apply_calls_total") >= 0
    True
    """

    def collect(self) -> Iterator:
        """Yields one family of metrics a number."""
        from prometheus_client import core

        counters = ops.server_counters().numpy()
        for row, op in zip(counters, ("lookup", "apply"), strict=True):
            for (name, text, scale), value in zip(_NUMBERS, row, strict=True):
                metric = core.CounterMetricFamily(
                    f"monolith_server_{op}_{name}", text.format(op=op)
                )
                metric.add_metric([], float(value) * scale)
                yield metric


def serve_role_metrics() -> int | None:
    """Serves metrics on the port that MONOLITH_TF_METRICS_PORT names.

    Those of `ServerCollector`, and of the process: memory, CPU time, files.

    Returns:
        The port, or None if the variable is not set.

    Raises:
        ValueError: The variable is not a port.
        OSError: The port is taken.
    """
    text = os.environ.get(PORT_VARIABLE)
    if not text:
        return None
    if not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise ValueError(
            f"{PORT_VARIABLE} is {text!r}; expected a port, 1 to 65535."
        )
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    registry.register(ServerCollector())
    prometheus_client.start_http_server(int(text), registry=registry)
    return int(text)
