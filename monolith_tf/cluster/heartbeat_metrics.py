"""Prometheus metrics of heartbeats."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from monolith_tf.cluster import health as health_lib
from monolith_tf.cluster.heartbeats import running_monitors


class HeartbeatCollector:
    """A Prometheus collector of the heartbeats that this process watches.

    Gauges with the label `role`: `monolith_heartbeat_silent_seconds`, the time
    since its last answer, and `monolith_heartbeat_state` with the label
    `state`, 1 for the state that the role is in and 0 for the others.

    Example:
    >>> import prometheus_client
    >>> registry = prometheus_client.CollectorRegistry()
    >>> registry.register(HeartbeatCollector())
    """

    def collect(self) -> Iterator:
        """Yields one metric family per number."""
        from prometheus_client import core

        silent = core.GaugeMetricFamily(
            "monolith_heartbeat_silent_seconds",
            "Seconds since the last answer of a role.",
            labels=["role"],
        )
        state = core.GaugeMetricFamily(
            "monolith_heartbeat_state",
            "1 for the state that a role is in.",
            labels=["role", "state"],
        )
        for monitor in running_monitors():
            for health in monitor.healths():
                silent.add_metric([health.role], health.silent_seconds)
                for name in health_lib.STATES:
                    state.add_metric(
                        [health.role, name], float(name == health.state)
                    )
        yield silent
        yield state


@contextlib.contextmanager
def serve_heartbeat_metrics(port: int) -> Iterator[None]:
    """A block in which this process serves the metrics of its heartbeats.

    Args:
        port: Port to serve on.

    Raises:
        OSError: The port is in use.
    """
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    registry.register(HeartbeatCollector())
    server, thread = prometheus_client.start_http_server(
        port, registry=registry
    )
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
