"""Prometheus metrics of a worker or a parameter server."""

from __future__ import annotations

from collections.abc import Iterator

from monolith_tf import ops
from monolith_tf.cluster.heartbeat_metrics import HeartbeatCollector
from monolith_tf.cluster.metrics_port import metrics_port

_NUMBERS = (
    ("calls", "Calls of {op} on this server.", 1.0),
    ("ids", "Ids in calls of {op}.", 1.0),
    ("bytes", "Bytes in and out of calls of {op}.", 1.0),
    ("seconds", "Seconds inside {op}.", 1e-9),
)
_OF_WORKER = (
    ("lookups", "Lookups that steps of this worker made.", 1.0),
    ("lookup_seconds", "Seconds from ids to vectors.", 1e-9),
    ("steps", "Steps of this worker that had gradients.", 1.0),
    ("dense_seconds", "Seconds from vectors to gradients.", 1e-9),
)


class ServerCollector:
    """A Prometheus collector of the calls that this server answers.

    Counters `monolith_server_OP_calls`, `_ids`, `_bytes` and `_seconds`, where
    OP is `lookup` or `apply`, and the gauge `_running`, the calls that are in
    the op now: an overloaded server has many. The seconds are those inside the
    op.

    Example:
    >>> import prometheus_client
    >>> registry = prometheus_client.CollectorRegistry()
    >>> registry.register(ServerCollector())
    >>> registry.get_sample_value("monolith_server_apply_calls_total") >= 0
    True
    """

    def collect(self) -> Iterator:
        """Yields one metric family per number."""
        from prometheus_client import core

        counters = ops.server_counters().numpy()
        for row, op in zip(counters, ("lookup", "apply"), strict=True):
            *numbers, running = row
            yield core.GaugeMetricFamily(
                f"monolith_server_{op}_running",
                f"Calls of {op} that this server runs.",
                float(running),
            )
            for (name, text, scale), value in zip(
                _NUMBERS, numbers, strict=True
            ):
                metric = core.CounterMetricFamily(
                    f"monolith_server_{op}_{name}", text.format(op=op)
                )
                metric.add_metric([], float(value) * scale)
                yield metric


class WorkerCollector:
    """A Prometheus collector of the time of this worker's steps.

    Counters `monolith_worker_lookups` and `_lookup_seconds` (from ids to
    vectors: transport to the servers and back, and the work of both sides),
    `monolith_worker_steps` and `_dense_seconds` (steps with gradients; from
    vectors to gradients: the model, forward and backward). An evaluation adds
    to the first two only. `ServerCollector` has the updates. With
    `mt.pipelined` the first two have no meaning, because a step looks up the
    rows of another step.

    Example:
    >>> import prometheus_client
    >>> registry = prometheus_client.CollectorRegistry()
    >>> registry.register(WorkerCollector())
    >>> registry.get_sample_value("monolith_worker_steps_total") >= 0
    True
    """

    def collect(self) -> Iterator:
        """Yields one metric family per number."""
        from prometheus_client import core

        values = ops.worker_counters().numpy()
        for (name, text, scale), value in zip(_OF_WORKER, values, strict=True):
            metric = core.CounterMetricFamily(f"monolith_worker_{name}", text)
            metric.add_metric([], float(value) * scale)
            yield metric


def serve_role_metrics() -> int | None:
    """Serves metrics on the port that MONOLITH_TF_METRICS_PORT names.

    The metrics are those of `ServerCollector`, `WorkerCollector` and
    `HeartbeatCollector`, and memory, CPU time and files of the process.

    Returns:
        The port, or None if the variable is not set.

    Raises:
        ValueError: The variable is not a port.
        OSError: The port is in use.
    """
    port = metrics_port()
    if port is None:
        return None
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    registry.register(ServerCollector())
    registry.register(WorkerCollector())
    registry.register(HeartbeatCollector())
    prometheus_client.start_http_server(port, registry=registry)
    return port
