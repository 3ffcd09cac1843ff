"""Pushes deltas to a model server while `fit` runs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable

import tf_keras

from monolith_tf.errors import DeliveryError
from monolith_tf.serving.export_record import ExportRecord
from monolith_tf.serving.push_metrics import PushMetrics
from monolith_tf.serving.push_options import PushOptions
from monolith_tf.serving.pusher import DeltaPusher


class DeltaPush(tf_keras.callbacks.Callback):
    """Keeps a served export equal to the model that `fit` trains.

    The pusher runs on a thread of its own from the beginning of `fit` to its
    end; the last delta is acknowledged before `fit` returns. What stops the
    thread is raised by `fit`, at the end of the epoch. It does nothing per
    batch, so it works under `ParameterServerStrategy`.

    Keras tells no callback when `fit` fails: after an error of the training
    itself call `close()`, or use the callback as a context manager.

    Args:
        address: "host:port" of the model server's gRPC port.
        model_name: Name of the model there.
        log_directory: Directory for the delta log; one pusher at a time.
        export_record: What `export_saved_model` returned, or the path of its
            version directory.
        export_fn: Writes a new version when deltas cannot go on, and returns
            its record; it is called on the pusher's thread. None makes that an
            error of `fit`.
        interval_seconds: A push starts when the last one was acknowledged and
            this long has passed since it started.
        options: Bounds and deadlines; see `monolith_tf.serving.PushOptions`.

    Attributes:
        metrics: `PushMetrics` of all pushes of this callback.
        record: The export that the deltas go to.
        pusher: The `DeltaPusher` while `fit` runs, else None.

    Example:
    ```python
    record = mt.serving.export_saved_model(model, "/models/ranker")
    push = mt.callbacks.DeltaPush(
        "localhost:8500", "ranker", "/var/log/deltas", record,
        export_fn=lambda: mt.serving.export_saved_model(
            model, "/models/ranker"),
    )
    model.fit(stream, callbacks=[push])
    print(push.metrics.rows, push.metrics.lag_seconds)
    ```
    """

    def __init__(
        self,
        address: str,
        model_name: str,
        log_directory: str | os.PathLike,
        export_record: ExportRecord | str | os.PathLike,
        export_fn: Callable[[], ExportRecord | str] | None = None,
        interval_seconds: float = 0.1,
        options: PushOptions | None = None,
    ):
        """Connects to nothing yet; `fit` does."""
        super().__init__()
        options = options or PushOptions()
        self.metrics = options.metrics or PushMetrics()
        self.record = export_record
        self.pusher: DeltaPusher | None = None
        self._make_pusher = lambda: DeltaPusher(
            self.model,
            address,
            model_name,
            log_directory,
            self.record,
            export_fn,
            interval_seconds,
            dataclasses.replace(options, metrics=self.metrics),
        )

    def on_train_begin(self, logs=None):
        """Starts the pusher."""
        self.close()  # Of a fit that failed.
        self.pusher = self._make_pusher()
        self.pusher.start()

    def on_epoch_end(self, epoch, logs=None):
        """Raises what stopped the pusher, if anything did."""
        self.record = self.pusher.record
        self.pusher.check()

    def on_train_end(self, logs=None):
        """Pushes the last delta and joins the thread."""
        self._finish(flush=True)

    def close(self) -> None:
        """Stops a pusher that a failed `fit` left, without a last push."""
        if self.pusher is not None:
            # What stopped the pusher was raised by `fit`, or logged.
            with contextlib.suppress(DeliveryError):
                self._finish(flush=False)

    def __enter__(self) -> DeltaPush:
        """Returns the callback itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes."""
        self.close()

    def _finish(self, flush: bool) -> None:
        pusher, self.pusher = self.pusher, None
        try:
            pusher.close(flush=flush)
        finally:
            self.record = pusher.record
