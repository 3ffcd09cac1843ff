"""Prometheus metrics of the chief: speed of training, and tables."""

from __future__ import annotations

import time

import tf_keras

from monolith_tf.callbacks.coordinator_metrics import CoordinatorCollector
from monolith_tf.cluster.heartbeat_metrics import HeartbeatCollector
from monolith_tf.cluster.metrics_port import metrics_port
from monolith_tf.cluster.progress import report_step
from monolith_tf.metrics.request_counts import request_counts
from monolith_tf.metrics.table_stats import StatsCollector
from monolith_tf.placement.registry import tables_of


class TrainingMetrics(tf_keras.callbacks.Callback):
    """Serves Prometheus metrics of `fit`.

    At the end of each epoch it sets `monolith_training_examples_per_second`,
    `_step_seconds` (wall time of the epoch over the steps of all workers),
    `_steps` and `_loss`, and `monolith_updates_partial` and `_repeated` of the
    servers (see `mt.metrics.request_counts`). A scrape reads the statistics of
    tables, the numbers of steps queued (`monolith_training_steps_queued`) and
    running (`_running`), of lost workers (`monolith_worker_failures`), and the
    heartbeats of servers that `mt.cluster.exit_for_restart` watches.

    Args:
        examples_per_step: Batch size.
        port: Port to serve on. Default: that of the environment variable
            `MONOLITH_TF_METRICS_PORT`, which `monolith-tf launch --metrics`
            sets. Without either, the program may serve `registry` itself.

    Raises:
        ValueError: The environment variable is not a port.
        OSError: `fit` raises it if the port is in use.

    Attributes:
        registry: The `prometheus_client.CollectorRegistry`.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf, tf_keras
    >>> model = tf_keras.Sequential(
    ...     [mt.layers.DynamicEmbedding(mt.TableConfig("movie", 2))])
    >>> model.compile(mt.optimizers.with_tables("sgd"), "mse")
    >>> metrics = mt.callbacks.TrainingMetrics(examples_per_step=1)
    >>> _ = model.fit(tf.constant([7], tf.int64), tf.ones([1, 2]), verbose=0,
    ...               callbacks=[metrics])
    >>> metrics.registry.get_sample_value("monolith_training_steps")
    1.0
    """

    def __init__(self, examples_per_step: int, port: int | None = None):
        """Makes the registry; `fit` serves it."""
        import prometheus_client

        super().__init__()
        self._examples_per_step = examples_per_step
        self._port = port or metrics_port()
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self.registry.register(CoordinatorCollector())
        self.registry.register(HeartbeatCollector())
        self._gauges = {
            name: prometheus_client.Gauge(
                f"monolith_{name}", text, registry=self.registry
            )
            for name, text in (
                ("training_examples_per_second", "Of the last epoch."),
                ("training_step_seconds", "Of the last epoch."),
                ("training_steps", "Steps of the optimizer."),
                ("training_loss", "Of the last epoch."),
                ("updates_partial", "Steps that not all servers applied."),
                ("updates_repeated", "Updates dropped as repeated."),
            )
        }
        self._started = False
        self._epoch_began = 0.0
        self._steps_before = 0

    def on_train_begin(self, logs=None):
        """Serves the registry, in the first `fit`."""
        if self._started:
            return
        self._started = True
        if tables_of(self.model):
            self.registry.register(StatsCollector(self.model))
        if self._port:
            import prometheus_client

            prometheus_client.start_http_server(
                self._port, registry=self.registry
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Records the time and the step."""
        self._epoch_began = time.monotonic()
        self._steps_before = int(self.model.optimizer.iterations)

    def on_epoch_end(self, epoch, logs=None):
        """Sets the gauges."""
        seconds = time.monotonic() - self._epoch_began
        steps = int(self.model.optimizer.iterations)
        report_step(steps)
        num_steps = max(1, steps - self._steps_before)
        values = {
            "training_examples_per_second": num_steps
            * self._examples_per_step
            / seconds,
            "training_step_seconds": seconds / num_steps,
            "training_steps": steps,
            "training_loss": (logs or {}).get("loss", float("nan")),
        }
        if tables_of(self.model):
            counts = request_counts(self.model)
            values["updates_partial"] = counts.partial
            values["updates_repeated"] = sum(counts.repeated)
        for name, value in values.items():
            self._gauges[name].set(value)
