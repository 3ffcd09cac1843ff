"""Prometheus metrics of a ClusterCoordinator: steps queued and running."""

from __future__ import annotations

from collections.abc import Iterator

# Reads the counts of TensorFlow's own monitoring.
from tensorflow.python.distribute.coordinator import metric_utils

_GAUGES = (
    (
        "training_steps_queued",
        "queued_closures",
        "Calls of schedule that wait for a worker.",
    ),
    (
        "training_steps_running",
        "inflight_closures",
        "Calls of schedule that workers run.",
    ),
)


class CoordinatorCollector:
    """A Prometheus collector of the coordinator of this process.

    Gauges `monolith_training_steps_queued` and `_running`, and the counter
    `monolith_worker_failures` of lost workers, whose steps other workers take
    over. All are 0 without a `tf.distribute.coordinator.ClusterCoordinator`.

    Example:
    >>> import prometheus_client
    >>> registry = prometheus_client.CollectorRegistry()
    >>> registry.register(CoordinatorCollector())
    >>> registry.get_sample_value("monolith_training_steps_queued")
    0.0
    """

    def collect(self) -> Iterator:
        """Yields one metric family per number."""
        from prometheus_client import core

        for name, of_tensorflow, text in _GAUGES:
            yield core.GaugeMetricFamily(
                f"monolith_{name}", text, _read(of_tensorflow)
            )
        failures = core.CounterMetricFamily(
            "monolith_worker_failures",
            "Lost workers, whose steps other workers took over.",
        )
        failures.add_metric([], _read("worker_failures"))
        yield failures


def _read(of_tensorflow: str) -> float:
    try:
        return float(metric_utils.get_metric_summary(of_tensorflow))
    except KeyError:
        # There is no coordinator yet.
        return 0.0
