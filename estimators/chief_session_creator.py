"""Creates the sessions of a chief, and restores only what was lost."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.errors import in_one_line
from monolith_tf.estimators.snapshot_hook import SnapshotHook
from monolith_tf.estimators.table_generations import TableGenerations
from monolith_tf.estimators.table_generations import servers_in
from monolith_tf.serving.trainer_state import is_restore

v1 = tf.compat.v1


class ChiefSessionCreator(v1.train.ChiefSessionCreator):
    """Creates a session that continues with the servers' state, if it can.

    TensorFlow restores the last checkpoint in every session of a chief. That
    takes back what all workers trained, although the chief may have lost
    nothing but a connection. After its first session, this creator restores
    only if a variable is not initialized, or if a server has other tables than
    after the last restore. As long as a server does not answer, it decides
    nothing and lets TensorFlow try again.

    A restore refuses all tables before the first variable changes. So workers,
    whose steps continue when their chief is restarted, train no restored
    variable on rows that are not restored yet.

    Args:
        snapshots: Restores the newest snapshot in place of the last checkpoint,
            unless the checkpoint is of a later step. None for checkpoints only.
        **arguments: Those of `tf.compat.v1.train.ChiefSessionCreator`.
    """

    def __init__(self, snapshots: SnapshotHook | None = None, **arguments):
        """Builds its operations in the current graph."""
        super().__init__(**arguments)
        self._snapshots = snapshots
        self._generations = TableGenerations()
        self._restored: tuple[int, ...] | None = None
        self._refuse = []
        # Tables that nothing restored may be used; those whose restore has
        # failed half-way stay refused.
        self._accept = []
        for device, handle in servers_in(v1.get_default_graph()):
            with tf.device(device):
                self._refuse.append(ops.begin_restore(handle))
                self._accept.append(ops.end_restore(handle))

    def create_session(self):
        """Returns a session whose graph is ready.

        Raises:
            tf.errors.AbortedError: A server is lost. Call it again.
            tf.errors.UnavailableError: The same.
        """
        if self._restored is not None:
            session = self._continue()
            if session is not None:
                return session
            self._restored = None
        self._scaffold.finalize()
        self._run_on_servers(self._refuse)
        try:
            session = self._restore_snapshot() or super().create_session()
        except (tf.errors.AbortedError, tf.errors.UnavailableError):
            raise
        except BaseException:
            self._run_on_servers(self._accept)
            raise
        self._run_on_servers(self._accept)
        if self._snapshots is not None:
            self._snapshots.accept(session)
        self._restored = self._generations.read(session)
        return session

    def _restore_snapshot(self):
        """Returns a session with a restored snapshot, None without one."""
        if self._snapshots is None or not self._snapshots.has_later_than(
            step_of_checkpoint(self._checkpoint_dir)
        ):
            return None
        restored = []

        def restore(session):
            restored.append(self._snapshots.restore(session))

        try:
            return self._get_session_manager().prepare_session(
                self._master, config=self._config, init_fn=restore
            )
        except RuntimeError:
            # Nothing made the variables, so the session is not ready.
            if restored == [None]:
                return None
            raise

    def _run_on_servers(self, operations: list) -> None:
        """Runs an operation on each server where it applies."""
        if not self._master:
            return  # A session in this process finds no tables.
        with v1.Session(
            self._master,
            graph=v1.get_default_graph(),
            config=self._config,
        ) as session:
            for operation in operations:
                # A server that was just started has no tables, and no restore
                # to end.
                with contextlib.suppress(
                    tf.errors.FailedPreconditionError,
                    tf.errors.NotFoundError,
                ):
                    session.run(operation)

    def _continue(self):
        """Returns a session without a restore, None if one is needed."""
        try:
            # One attempt: it ends with DeadlineExceeded if a variable is not
            # initialized.
            session = self._get_session_manager().wait_for_session(
                self._master, config=self._config, max_wait_secs=0
            )
        except tf.errors.DeadlineExceededError:
            return _restore("a server has lost its variables")
        try:
            found = self._generations.read(session)
        except (
            tf.errors.FailedPreconditionError,
            tf.errors.NotFoundError,
        ):
            session.close()
            return _restore("a server has lost its tables")
        except tf.errors.OpError as error:
            session.close()
            if is_restore(error):
                return _restore("a restore has failed half-way")
            raise
        if found != self._restored:
            session.close()
            return _restore("the tables were restored by somebody else")
        v1.logging.info(
            "The session continues: every server has its variables and tables."
        )
        return session


def step_of_checkpoint(directory: str | None) -> int:
    """Returns the global step of the last checkpoint, or -1."""
    path = tf.train.latest_checkpoint(directory) if directory else None
    if path is None:
        return -1
    try:
        return int(tf.train.load_variable(path, v1.GraphKeys.GLOBAL_STEP))
    except (tf.errors.OpError, ValueError) as error:
        v1.logging.error(
            f"The checkpoint {path} cannot be read: {in_one_line(error)}"
        )
        return -1


def _restore(reason: str) -> None:
    v1.logging.warning(f"The session is restored: {reason}.")
