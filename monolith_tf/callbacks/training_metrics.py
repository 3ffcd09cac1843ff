"""Prometheus metrics of the chief: how fast training is, and its tables."""

from __future__ import annotations

import time

import tf_keras

from monolith_tf.callbacks.coordinator_metrics import CoordinatorCollector
from monolith_tf.cluster.metrics_port import metrics_port
from monolith_tf.metrics.request_counts import request_counts
from monolith_tf.metrics.table_stats import StatsCollector
from monolith_tf.placement.registry import tables_of


class TrainingMetrics(tf_keras.callbacks.Callback):
    """Tells Prometheus how `fit` goes on.

    At the end of each epoch it sets `monolith_training_examples_per_second`,
    `_step_seconds` (of the epoch's time on the clock, so of all workers
    together), `_steps` and `_loss`, and of the servers
    `monolith_updates_partial` and `_repeated` (see
    `mt.metrics.request_counts`). The tables' own numbers, and how many
    steps wait for a worker (`monolith_training_steps_queued`), run
    (`_running`) and how many workers were lost (`monolith_worker_failures`),
    are asked for when somebody scrapes.

    Args:
        examples_per_step: The size of a batch.
        port: Port to serve on; default is that of the environment variable
            `MONOLITH_TF_METRICS_PORT`, which `monolith-tf launch --metrics`
            sets. Without either nothing is served, and `registry` can be.

    Raises:
        ValueError: The environment variable is not a port.
        OSError: By `fit`: the port is taken.

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
        """Serves nothing yet; `fit` does."""
        import prometheus_client

        super().__init__()
        self._examples_per_step = examples_per_step
        self._port = port or metrics_port()
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self.registry.register(CoordinatorCollector())
        self._gauges = {
            name: prometheus_client.Gauge(
                f"monolith_{name}", text, registry=self.registry
            )
            for name, text in (
                ("training_examples_per_second", "Of the last epoch."),
                ("training_step_seconds", "Of the last epoch."),
                ("training_steps", "Steps of the optimizer."),
                ("training_loss", "Of the last epoch."),
                ("updates_partial", "Steps that not all servers got."),
                ("updates_repeated", "Updates dropped as repeated."),
            )
        }
        self._started = False
        self._epoch_began = 0.0
        self._steps_before = 0

    def on_train_begin(self, logs=None):
        """Begins to serve, the first time."""
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
        """Notes the time."""
        self._epoch_began = time.monotonic()
        self._steps_before = int(self.model.optimizer.iterations)

    def on_epoch_end(self, epoch, logs=None):
        """Sets the numbers."""
        seconds = time.monotonic() - self._epoch_began
        steps = int(self.model.optimizer.iterations)
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
