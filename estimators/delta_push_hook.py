"""Delta pushes to a model server while an Estimator trains."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable

import tensorflow as tf

from monolith_tf import serving
from monolith_tf.cluster.failures import is_cluster_failure
from monolith_tf.errors import DeliveryError
from monolith_tf.errors import in_one_line
from monolith_tf.estimators.session_tables import SessionTableSet
from monolith_tf.estimators.session_tables import SessionVariable
from monolith_tf.serving.export_record import ExportRecord
from monolith_tf.serving.push_metrics import PushMetrics
from monolith_tf.serving.push_options import PushOptions
from monolith_tf.serving.pusher import DeltaPusher

v1 = tf.compat.v1
_log = logging.getLogger(__name__)
# From one attempt to start a pusher to the next.
_RESTART_SECONDS = 1.0


class DeltaPushHook(v1.train.SessionRunHook):
    """Pushes deltas so that a served export equals an Estimator in training.

    The counterpart of `mt.callbacks.DeltaPush` for Estimators. When training
    starts, and after a restore, it writes an export of the tables in training
    as a new version in `export_dir_base`; from then on a pusher sends the
    changes. A pusher that loses a connection is started again. The last delta
    is acknowledged before the last checkpoint is written: a chief that dies
    between them continues from the previous checkpoint and pushes again.
    Updates of other workers after the chief has ended are in no delta. It does
    nothing in a process that is not the chief.

    A checkpoint has no delta position, because a restore draws a new
    generation, and the server may be ahead of the restored state. Deltas
    continue from the export that follows a restore.

    Args:
        estimator: The Estimator in training.
        address: "host:port" of the model server's gRPC port.
        model_name: Name of the model on the server.
        log_directory: Directory of the delta log; one pusher at a time may use
            it.
        export_dir_base: Directory of the versions of the model server.
        serving_input_receiver_fn: As for `Estimator.export_saved_model`.
        interval_seconds: Least time between the starts of two pushes. A push
            starts after the previous one is acknowledged.
        options: Limits and deadlines; see `monolith_tf.serving.PushOptions`.

    Attributes:
        metrics: `PushMetrics` of all pushes.
        record: The export that receives the deltas.

    Example:
    ```python
    hook = DeltaPushHook(estimator, "localhost:8500", "ranker", "deltas",
                         "/models/ranker", receiver_fn)
    estimator.train(input_fn, hooks=[hook])
    ```
    """

    def __init__(
        self,
        estimator,
        address: str,
        model_name: str,
        log_directory: str | os.PathLike,
        export_dir_base: str | os.PathLike,
        serving_input_receiver_fn: Callable,
        interval_seconds: float = 0.1,
        options: PushOptions | None = None,
    ):
        """Keeps the arguments; training connects."""
        options = options or PushOptions()
        self.metrics = options.metrics or PushMetrics()
        self.record: ExportRecord | None = None
        self._estimator = estimator
        self._export_dir = export_dir_base
        self._receiver_fn = serving_input_receiver_fn
        self._pusher: DeltaPusher | None = None
        # When to start the pusher again, None while it runs.
        self._starts_at: float | None = None
        self._started_at = 0.0
        self._error: Exception | None = None
        self._make_pusher = lambda: DeltaPusher(
            (self._tables, self._variables),
            address,
            model_name,
            log_directory,
            self.record,
            self._export,
            interval_seconds,
            dataclasses.replace(options, metrics=self.metrics),
        )

    def begin(self):
        """Builds the operations that read the tables in training."""
        if not self._estimator.config.is_chief:
            return
        self._tables = SessionTableSet()
        # A new thread is not in the graph of the training.
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            self._model = executor.submit(
                self._estimator.serving_model,
                self._receiver_fn,
                tables=self._tables.tables,
            ).result()
        trained = {
            variable.op.name: variable for variable in v1.global_variables()
        }
        self._variables = [
            SessionVariable(trained[name], self._tables)
            for name in self._model.variable_names
        ]

    def after_create_session(self, session, coord):
        """Starts the pusher, on a new export unless the last one holds."""
        del coord
        if not self._estimator.config.is_chief:
            return
        self.close()  # Of a session that was lost.
        self._tables.session = session
        generations = self._tables.generations()
        if self.record is None or generations != list(self.record.generations):
            with concurrent.futures.ThreadPoolExecutor(1) as executor:
                self.record = executor.submit(self._export).result()
        self._start()

    def after_run(self, run_context, run_values):
        """Raises the error that stopped the pusher, if there is one.

        A pusher that could not read the tables is started again, with the same
        export. The session is recovered only if a step of the training fails.
        """
        if self._starts_at is not None:
            self._start_again()
        if self._pusher is None:
            return
        try:
            self._pusher.check()
        except DeliveryError as error:
            if error.__cause__ is None or not is_cluster_failure(
                error.__cause__
            ):
                raise
            self.close()
            self._starts_at = self._started_at + _RESTART_SECONDS
            self._start_again()

    def end(self, session):
        """Pushes the last delta and joins the thread.

        An error waits for `raise_error`: TensorFlow ends hooks in order, and
        one that raises keeps those behind it from saving the last checkpoint.
        """
        # Twice, because a read that failed does not fail the last push.
        for is_last in (False, True):
            try:
                if self._starts_at is not None:
                    self._start()
                self._finish(flush=True)
                return
            except (DeliveryError, tf.errors.OpError) as error:
                if is_last or not is_cluster_failure(error):
                    self._error = error
                    return
                self._starts_at = 0.0

    def raise_error(self) -> None:
        """Raises the error of the last push, when all hooks have ended."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Stops the pusher of a failed training, without a last push."""
        with contextlib.suppress(DeliveryError):
            self._finish(flush=False)

    def _start(self) -> None:
        self._pusher = self._make_pusher()
        self._starts_at, self._started_at = None, time.monotonic()
        self._pusher.start()

    def _start_again(self) -> None:
        """Starts a pusher in place of one that stopped, at most every second.

        Its first delta has what the other one had not logged.
        """
        now = time.monotonic()
        if now < self._starts_at:
            return
        try:
            self._start()
        except tf.errors.OpError as error:
            if not is_cluster_failure(error):
                raise
            _log.warning(
                "The pusher of deltas starts again in %s s: %s",
                _RESTART_SECONDS,
                in_one_line(error),
            )
            self._starts_at = now + _RESTART_SECONDS

    def _export(self) -> ExportRecord:
        self._model.assign(self._variables)
        return serving.export_saved_model(
            self._model, self._export_dir, inputs=self._model.input_specs
        )

    def _finish(self, flush: bool) -> None:
        pusher, self._pusher = self._pusher, None
        if pusher is None:
            return
        try:
            pusher.close(flush=flush)
        finally:
            self.record = pusher.record
