"""Snapshots of a TensorFlow 1 session while it trains."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging

import tensorflow as tf

from monolith_tf.errors import in_one_line
from monolith_tf.estimators.session_objects import SessionObjects
from monolith_tf.estimators.snapshot_config import SnapshotConfig
from monolith_tf.estimators.step_barrier import StepBarrier
from monolith_tf.snapshots import restoring
from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.schedule import SnapshotSchedule
from monolith_tf.snapshots.store import SnapshotStore

v1 = tf.compat.v1
_log = logging.getLogger(__name__)


class SnapshotHook(v1.train.SessionRunHook):
    """Takes snapshots between the steps of a chief, and restores the newest.

    An Estimator makes this hook itself: use `RunConfig(snapshots=...)`. In a
    custom loop, pass it to the session of the chief alone, as the last of its
    hooks: an error of the last snapshot is raised from `end`. It restores when
    a session is created and the tables are not those that it knows: at the
    start, and after a server lost its state.
    `tf.compat.v1.train.MonitoredTrainingSession` without `checkpoint_dir`
    initializes the tables of every session, so each session begins with the
    newest snapshot.

    Training waits for the moment only; the servers write their rows while it
    continues. Snapshots that fail are logged and counted.

    Args:
        config: `SnapshotConfig`.
        barrier: Keeps the other workers between two steps for the moment; None
            if there is no other worker, or if they need not wait.

    Attributes:
        latest: Manifest of the latest snapshot, or None.
        num_failed: Number of snapshots that failed.
        num_torn: Number of snapshots that did not wait for each worker: a step
            of a worker that did not answer may be in them for some servers
            only.

    Example:
    ```python
    snapshots = SnapshotHook(SnapshotConfig("snapshots", every_seconds=60))
    with tf.compat.v1.train.MonitoredTrainingSession(
        chief_only_hooks=[snapshots]
    ) as session:
        while not session.should_stop():
            session.run(train_op)
    ```
    """

    def __init__(
        self, config: SnapshotConfig, barrier: StepBarrier | None = None
    ):
        """Keeps the arguments."""
        self._config = config
        self._barrier = barrier
        self._schedule = SnapshotSchedule(config)
        self._objects: SessionObjects | None = None
        self._known: list[int] | None = None
        self._has_started = False
        self.num_torn = 0

    @property
    def latest(self) -> Manifest | None:
        """Manifest of the latest snapshot, or None."""
        return self._schedule.latest

    @property
    def num_failed(self) -> int:
        """Number of snapshots that failed."""
        return self._schedule.num_failed

    def begin(self):
        """Builds the operations that read and write the model.

        Raises:
            ValueError: The graph has no tables.
        """
        # A hook may serve several trainings, one after the other.
        self._schedule = SnapshotSchedule(self._config)
        self._has_started = False
        self._known = None
        self._step = v1.train.get_or_create_global_step()
        self._objects = SessionObjects()

    def has_later_than(self, step: int) -> bool:
        """Returns True if a restore must not be left out.

        Args:
            step: The global step of another state that could be restored; -1
                for none.

        Returns:
            False if the directory was never used, or its newest whole snapshot
            is older than `step`.
        """
        store = SnapshotStore(self._config.directory)
        newest = store.latest()
        if newest is None:
            return store.has_been_used()
        if newest.step >= step:
            return True
        _log.warning(
            "The newest snapshot in %s is of step %d, and the checkpoint of "
            "step %d. Restoring the checkpoint.",
            store.directory,
            newest.step,
            step,
        )
        return False

    def restore(self, session) -> Manifest | None:
        """Restores the newest whole snapshot.

        Args:
            session: A session of the graph, initialized or not.

        Returns:
            The manifest; None if there is no snapshot.

        Raises:
            CheckpointError: As `mt.snapshots.restore`.
            tf.errors.OpError: A server failed. Restore again.
        """
        self._use(session)
        # A new thread is not in the graph of the training.
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            manifest = executor.submit(
                restoring.restore,
                self._objects,
                self._config.directory,
                allow_fresh=self._config.allow_fresh,
            ).result()
        if manifest is not None:
            self._known = self._objects.generations()
        return manifest

    def accept(self, session) -> None:
        """Takes the state of a session for one that needs no restore."""
        self._use(session)
        self._known = self._objects.generations()

    def after_create_session(self, session, coord):
        """Restores the newest snapshot unless the servers have their state."""
        del coord
        self._use(session)
        if self._objects.generations() != self._known:
            self.restore(session)
            self.accept(session)
        if self._barrier is not None:
            self._barrier.reset(session)
        if not self._has_started:
            self._schedule.start()
        self._has_started = True

    def after_run(self, run_context, run_values):
        """Takes a snapshot if one is due."""
        del run_context, run_values
        self._open()
        if not self._schedule.is_due():
            return
        try:
            with self._between_steps() as step:
                self._schedule.take(self._objects, step)
        except tf.errors.OpError as error:
            # If a server is lost, the next step meets it, too.
            self._schedule.failed(error)

    def end(self, session):
        """Takes the last snapshot and waits until it is durable.

        Raises:
            CheckpointError: It could not be written.
            tf.errors.OpError: A server is lost.
        """
        self._use(session)
        with self._between_steps() as step:
            self._schedule.take_last(self._objects, step)

    def _use(self, session) -> None:
        if self._objects.session is not session:
            # What the thread still does in an old session, fails.
            self._schedule.wait()
            self._objects.session = session

    @contextlib.contextmanager
    def _between_steps(self):
        """Keeps the workers between two steps; yields the global step."""
        session = self._objects.session
        try:
            if self._barrier is not None:
                self._close(session)
            yield int(session.run(self._step))
        finally:
            self._open()

    def _close(self, session) -> None:
        silent = self._barrier.close(session, self._config.pause_seconds)
        if silent:
            self.num_torn += 1
            _log.warning(
                "Workers %s did not end their step within %s s, so a snapshot "
                "may have a step of theirs for some servers only.",
                silent,
                self._config.pause_seconds,
            )

    def _open(self) -> None:
        if self._barrier is None:
            return
        try:
            self._barrier.open(self._objects.session)
        except tf.errors.OpError as error:
            # Tried again after the next step, or in the next session.
            _log.warning("The workers still wait: %s", in_one_line(error))
