"""Snapshots of a model while `fit` continues."""

from __future__ import annotations

import collections
import logging
import os
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from monolith_tf.errors import CheckpointError
from monolith_tf.errors import in_one_line
from monolith_tf.snapshots import restoring
from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.snapshot_writer import Moment
from monolith_tf.snapshots.snapshot_writer import SnapshotWriter

_log = logging.getLogger(__name__)


class Snapshots(tf_keras.callbacks.Callback):
    """Takes a snapshot of the model every few seconds, between two steps.

    The moment is one step boundary: dense weights, the optimizer, and the rows
    of all servers belong together. Training waits for the moment only; rows are
    written by the servers while it continues. A snapshot is durable when it
    counts, and a restarted program continues from the newest whole one.

    Under `ParameterServerStrategy` the callback lets a bounded number of steps
    wait in the coordinator's queue, `max_queued_steps`, because all of them
    run before the moment. `steps_per_execution` steps count as one.

    Args:
        directory: Where the snapshots go. Under a strategy all processes must
            see it by this path.
        every_seconds: Seconds from one snapshot to the next; a snapshot that
            takes longer delays the next.
        full_every: Every how many snapshots one is full.
        keep: Number of whole snapshots to keep, with those that they continue.
        positions: Called at the moment; returns the positions of streams, by
            name, for the manifest: anything that JSON holds.
        max_queued_steps: Steps that may wait under a strategy; None for 4 per
            worker.

    Raises:
        ValueError: A number is below 1, or `every_seconds` is negative.

    Example:
    >>> import tempfile, tf_keras
    >>> import monolith_tf as mt
    >>> embedding = mt.layers.DynamicEmbedding(mt.TableConfig("movie", 2))
    >>> model = tf_keras.Sequential([embedding, tf_keras.layers.Dense(1)])
    >>> model.compile(mt.optimizers.with_tables("adam"), "mse")
    >>> ids, labels = tf.constant([1, 2], tf.int64), tf.constant([0.0, 1.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     snapshots = mt.callbacks.Snapshots(folder, every_seconds=60)
    ...     history = model.fit(ids, labels, epochs=3, verbose=0,
    ...                         callbacks=[snapshots])
    ...     snapshots.restore(model).step
    3
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        every_seconds: float = 60.0,
        full_every: int = 10,
        keep: int = 3,
        positions: Callable[[], Mapping[str, Any]] | None = None,
        max_queued_steps: int | None = None,
    ):
        """Writes nothing yet."""
        super().__init__()
        if every_seconds < 0:
            raise ValueError(
                "Snapshots needs every_seconds of at least 0. Received: "
                f"every_seconds={every_seconds}."
            )
        for name, value in (
            ("full_every", full_every),
            ("keep", keep),
            ("max_queued_steps", max_queued_steps),
        ):
            if value is not None and value < 1:
                raise ValueError(
                    f"Snapshots needs {name} of at least 1. Received: "
                    f"{name}={value}."
                )
        self._directory = os.fspath(directory)
        self._every_seconds = every_seconds
        self._full_every = full_every
        self._keep = keep
        self._positions = positions
        self._max_queued_steps = max_queued_steps
        self._writer: SnapshotWriter | None = None
        self._of_model = None
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._last_begin = 0.0
        self._step = 0
        self._queued: collections.deque[Any] = collections.deque()
        self._inner: Callable[..., Any] | None = None
        self.latest: Manifest | None = None
        self.num_failed = 0
        self.last_stall_seconds = 0.0

    def restore(self, model, *, allow_fresh: bool = False) -> Manifest | None:
        """Restores a model from the newest whole snapshot.

        Args:
            model: A compiled Keras model.
            allow_fresh: As in `mt.snapshots.restore`.

        Returns:
            The manifest, whose step and positions say where to continue; None
            if the directory has no snapshot.

        Raises:
            CheckpointError: As `mt.snapshots.restore`.
        """
        manifest = restoring.restore(
            model, self._directory, allow_fresh=allow_fresh
        )
        if manifest is not None:
            self._step = manifest.step
        return manifest

    def on_train_begin(self, logs=None):
        """Begins to take snapshots between the steps of `fit`."""
        self._last_begin = time.monotonic()
        self._error = None
        self._queued.clear()
        inner = self.model.train_function
        # A `fit` that failed has not put it back.
        if isinstance(getattr(inner, "__self__", None), Snapshots):
            inner = inner.__self__._inner
        self._inner = inner
        self.model.train_function = self._train_step

    def on_epoch_end(self, epoch, logs=None):
        """Takes a snapshot if one is due: nothing runs here."""
        self._queued.clear()
        self._take_if_due()

    def on_train_end(self, logs=None):
        """Takes the last snapshot and waits until it is durable.

        Raises:
            CheckpointError: It could not be written.
        """
        self._put_back()
        self._wait()
        self._queued.clear()
        if self._writer is None and not self._make_writer():
            return
        moment = self._begin()
        if moment is not None:
            self._finish(moment)
        if self._error is not None:
            raise CheckpointError(
                f"The last snapshot in {self._directory!r} could not be "
                f"written: {in_one_line(self._error)}. The latest whole one is "
                f"{None if self.latest is None else self.latest.number}."
            ) from self._error

    def _train_step(self, iterator):
        """Runs in place of the model's train_function."""
        self._take_if_due()
        result = self._inner(iterator)
        self._step += 1
        if self._coordinator() is None:
            return result
        self._queued.append(result)
        if len(self._queued) > self._queue_size():
            tf.nest.map_structure(lambda x: x.get(), self._queued.popleft())
        return result

    def _take_if_due(self) -> None:
        if time.monotonic() - self._last_begin < self._every_seconds:
            return
        if self._thread is not None and self._thread.is_alive():
            return
        self._wait()
        if self._writer is None and not self._make_writer():
            return
        coordinator = self._coordinator()
        if coordinator is not None:
            coordinator.join()
            self._queued.clear()
        moment = self._begin()
        if moment is None:
            return
        self._thread = threading.Thread(
            target=self._finish, args=(moment,), name="snapshot"
        )
        self._thread.start()

    def _begin(self) -> Moment | None:
        self._last_begin = time.monotonic()
        positions = {} if self._positions is None else self._positions()
        try:
            moment = self._writer.begin(self._step, positions)
        except (tf.errors.OpError, OSError) as error:
            self._failed(error)
            return None
        self.last_stall_seconds = time.monotonic() - self._last_begin
        return moment

    def _finish(self, moment: Moment) -> None:
        try:
            self.latest = self._writer.finish(moment)
            self._error = None
        except (tf.errors.OpError, OSError) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._error = error
        self.num_failed += 1
        _log.error(
            "A snapshot in %s failed, and the next comes in %s s: %s",
            self._directory,
            self._every_seconds,
            in_one_line(error),
        )

    def _make_writer(self) -> bool:
        """Returns False before the first step has built the model."""
        if not self.model.built or self._step == 0:
            return False
        self._writer = SnapshotWriter(
            self.model,
            self._directory,
            keep=self._keep,
            full_every=self._full_every,
        )
        return True

    def _coordinator(self):
        return getattr(self.model, "_cluster_coordinator", None)

    def _queue_size(self) -> int:
        if self._max_queued_steps is not None:
            return self._max_queued_steps
        strategy = self.model.distribute_strategy
        return 4 * max(1, getattr(strategy.extended, "_num_workers", 1))

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _put_back(self) -> None:
        if self._inner is not None:
            self.model.train_function = self._inner
            self._inner = None
