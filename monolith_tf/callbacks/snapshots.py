"""Snapshots of a model while `fit` continues."""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from monolith_tf import ops
from monolith_tf.cluster import drain
from monolith_tf.cluster.leaving import leave_for_restart
from monolith_tf.errors import CheckpointError
from monolith_tf.errors import in_one_line
from monolith_tf.placement.registry import tables_of
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import call_server
from monolith_tf.snapshots import recovery
from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.schedule import SnapshotOptions
from monolith_tf.snapshots.schedule import SnapshotSchedule

# From one look at whether a server drains to the next.
_LOOK_SECONDS = 1.0


class Snapshots(tf_keras.callbacks.Callback):
    """Takes a snapshot of the model every few seconds, between two steps.

    The moment is one step boundary: dense weights, the optimizer, and the rows
    of all servers belong together. Training waits for the moment only; rows are
    written by the servers while it continues. A snapshot is durable when it
    counts, and a restarted program continues from the newest whole one.

    On SIGTERM, of this process or of a parameter server, it takes a snapshot
    after the step that runs and ends the process with the exit code that asks
    for a restart (75).

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
        if max_queued_steps is not None and max_queued_steps < 1:
            raise ValueError(
                "Snapshots needs max_queued_steps of at least 1. Received: "
                f"max_queued_steps={max_queued_steps}."
            )
        self._schedule = SnapshotSchedule(
            SnapshotOptions(
                directory,
                every_seconds=every_seconds,
                full_every=full_every,
                keep=keep,
                positions=positions,
            )
        )
        self._max_queued_steps = max_queued_steps
        self._step = 0
        self._queued: collections.deque[Any] = collections.deque()
        self._inner: Callable[..., Any] | None = None
        self._term: drain.TerminationSignal | None = None
        self._last_look = 0.0
        self.recovery: recovery.Recovery | None = None

    @property
    def latest(self) -> Manifest | None:
        """Manifest of the latest snapshot, or None."""
        return self._schedule.latest

    @property
    def num_failed(self) -> int:
        """Number of snapshots that failed."""
        return self._schedule.num_failed

    @property
    def last_stall_seconds(self) -> float:
        """Duration of the latest moment, in seconds."""
        return self._schedule.last_stall_seconds

    def restore(
        self, model, *, partial: bool = False, allow_fresh: bool = False
    ) -> Manifest | None:
        """Restores a model from the newest whole snapshot, as the one writer.

        From then on a chief that was started earlier is fenced, and parameter
        servers free its tables (`mt.snapshots.recover`).

        Args:
            model: A compiled Keras model.
            partial: Parameter servers that still have their rows keep them;
                only the others are read. The attribute `recovery` says which.
            allow_fresh: As in `mt.snapshots.restore`.

        Returns:
            The manifest, whose step and positions say where to continue; None
            if the directory has no snapshot.

        Raises:
            CheckpointError: As `mt.snapshots.restore`.
        """
        self.recovery = recovery.recover(
            model,
            self._schedule.options.directory,
            partial=partial,
            allow_fresh=allow_fresh,
        )
        if self.recovery is None:
            return None
        self._step = self.recovery.manifest.step
        return self.recovery.manifest

    def on_train_begin(self, logs=None):
        """Begins to take snapshots between the steps of `fit`."""
        self._schedule.start()
        self._queued.clear()
        self._put_back()
        self._term = drain.TerminationSignal()
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
            FencedError: A newer chief writes in place of this one.
        """
        self._put_back()
        self._schedule.wait()
        self._queued.clear()
        if self._is_built():
            self._schedule.take_last(self.model, self._step)

    def _train_step(self, iterator):
        """Runs in place of the model's train_function."""
        self._leave_if_asked()
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
        if not self._schedule.is_due() or not self._is_built():
            return
        self._join()
        self._schedule.take(self.model, self._step)

    def _join(self) -> None:
        coordinator = self._coordinator()
        if coordinator is not None:
            coordinator.join()
            self._queued.clear()

    def _leave_if_asked(self) -> None:
        """Takes a snapshot and ends the process, if it or a server drains."""
        draining = self._draining_servers()
        if not draining and not self._term.is_received:
            return
        details = "no step had run"
        if self._is_built():
            self._join()
            try:
                self._schedule.take_last(self.model, self._step)
                details = f"snapshot {self.latest.number} has every step"
                for table_set, shard in draining:
                    call_server(table_set, shard, _drain, drain.DRAINED)
            except (CheckpointError, tf.errors.OpError) as error:
                details = in_one_line(error)
        leave_for_restart(
            "a parameter server drains" if draining else "SIGTERM came",
            details,
        )

    def _draining_servers(self) -> list[tuple[TableSet, int]]:
        now = time.monotonic()
        if now - self._last_look < _LOOK_SECONDS:
            return []
        self._last_look = now
        if self._coordinator() is None or not self._is_built():
            return []
        table_sets = {table.table_set for table in tables_of(self.model)}
        try:
            return [
                (table_set, shard)
                for table_set in table_sets
                for shard in range(table_set.num_shards)
                if int(call_server(table_set, shard, _drain, drain.SERVING))
                == drain.DRAINING
            ]
        except tf.errors.OpError:
            return []  # The step meets the lost server, and says so.

    def _is_built(self) -> bool:
        """Returns False before the first step has built the model."""
        return self.model.built and self._step > 0

    def _coordinator(self):
        return getattr(self.model, "_cluster_coordinator", None)

    def _queue_size(self) -> int:
        if self._max_queued_steps is not None:
            return self._max_queued_steps
        strategy = self.model.distribute_strategy
        return 4 * max(1, getattr(strategy.extended, "_num_workers", 1))

    def _put_back(self) -> None:
        if self._term is not None:
            self._term.close()
            self._term = None
        if self._inner is not None:
            self.model.train_function = self._inner
            self._inner = None


def _drain(handle, wanted):
    del handle
    return ops.drain(wanted)
