"""Delta pushes to a model server during `fit`."""

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
    """Pushes deltas so that a served export equals the model in training.

    The pusher runs on its own thread from the beginning to the end of `fit`.
    The last delta is acknowledged before `fit` returns. `fit` raises an error
    of the thread before the next epoch, or at its end. So callbacks that save
    the epoch come first, wherever they stand in the list. The callback does
    nothing per batch, so it works under `ParameterServerStrategy`.

    Keras does not notify callbacks when `fit` fails: call `close()` after an
    error of the training itself, or use the callback as a context manager.

    Args:
        address: "host:port" of the model server's gRPC port.
        model_name: Name of the model on the server.
        log_directory: Directory of the delta log; one pusher at a time may use
            it.
        export_record: Result of `export_saved_model`, or the path of its
            version directory.
        export_fn: Writes a new version when deltas cannot continue, and returns
            its record; called on the pusher's thread. With None, `fit` raises
            instead.
        interval_seconds: Least time between the starts of two pushes. A push
            starts after the previous one is acknowledged.
        options: Bounds and deadlines; see `monolith_tf.serving.PushOptions`.

    Attributes:
        metrics: `PushMetrics` of all pushes of this callback.
        record: The export that receives the deltas.
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
        """Keeps the arguments; `fit` connects."""
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

    def on_epoch_begin(self, epoch, logs=None):
        """Raises the error that stopped the pusher, if there is one."""
        self.record = self.pusher.record
        self.pusher.check()

    def on_epoch_end(self, epoch, logs=None):
        """Takes over the export that receives the deltas."""
        self.record = self.pusher.record

    def on_train_end(self, logs=None):
        """Pushes the last delta and joins the thread."""
        self._finish(flush=True)

    def close(self) -> None:
        """Stops the pusher of a failed `fit`, without a last push."""
        if self.pusher is not None:
            # `fit` raised the error that stopped the pusher, or it is logged.
            with contextlib.suppress(DeliveryError):
                self._finish(flush=False)

    def __enter__(self) -> DeltaPush:
        """Returns the callback itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes the callback."""
        self.close()

    def _finish(self, flush: bool) -> None:
        pusher, self.pusher = self.pusher, None
        try:
            pusher.close(flush=flush)
        finally:
            self.record = pusher.record
