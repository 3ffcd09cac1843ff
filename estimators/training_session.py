"""The training session: its creator and its hooks, in their order."""

from __future__ import annotations

import time

import tensorflow as tf

from monolith_tf import snapshots as snapshots_lib
from monolith_tf.estimators.chief_session_creator import ChiefSessionCreator
from monolith_tf.estimators.chief_session_creator import step_of_checkpoint
from monolith_tf.estimators.delta_push_hook import DeltaPushHook
from monolith_tf.estimators.snapshot_hook import SnapshotHook
from monolith_tf.estimators.step_barrier import StepBarrier
from monolith_tf.estimators.step_barrier import StepBarrierHook
from monolith_tf.estimators.table_generations import TableGenerations
from monolith_tf.serving.trainer_state import is_restore

v1 = tf.compat.v1

# TensorFlow's 30 would be most of the time of a recovery.
_RECOVERY_WAIT_SECONDS = 1.0


def last_step(config) -> int:
    """Returns the global step that a training continues from, -1 for none.

    Args:
        config: `RunConfig`.
    """
    step = step_of_checkpoint(config.model_dir)
    if config.snapshots is None:
        return step
    newest = snapshots_lib.latest(config.snapshots.directory)
    return step if newest is None else max(step, newest.step)


def training_session(config, scaffold, hooks: list, chief_hooks: list):
    """Makes the session of a chief or a worker.

    Hooks that push deltas precede the one that saves checkpoints. So the last
    delta is acknowledged before the last checkpoint is written, and a restart
    after it has nothing to do. If the last push fails, its error is raised
    after the checkpoint. Snapshots are taken behind all hooks, because the
    step of a worker ends with its last hook.

    Args:
        config: `RunConfig`.
        scaffold: The completed scaffold.
        hooks: Hooks of every worker.
        chief_hooks: Hooks of the chief alone; they run first.
    """
    barrier = None
    if config.snapshots is not None and config.num_worker_replicas > 1:
        barrier = StepBarrier(config.ps_devices[0], config.num_worker_replicas)
    if not config.is_chief:
        if barrier is not None:
            worker = config.global_id_in_cluster
            hooks = [*hooks, StepBarrierHook(barrier, worker)]
        return v1.train.MonitoredSession(
            session_creator=_WorkerSessionCreator(
                TableGenerations(),
                scaffold=scaffold,
                master=config.master,
                config=config.session_config,
                max_wait_secs=config.session_creation_timeout_secs,
            ),
            hooks=hooks,
        )
    pushing = [hook for hook in hooks if isinstance(hook, DeltaPushHook)]
    snapshots = None
    if config.snapshots is not None:
        snapshots = SnapshotHook(config.snapshots, barrier)
    hooks = [
        *(*pushing, *chief_hooks, *_summary_hooks(config, scaffold)),
        *(hook for hook in hooks if hook not in pushing),
        *([] if snapshots is None else [snapshots]),
        _RaisePushErrors(pushing),
    ]
    return v1.train.MonitoredSession(
        session_creator=ChiefSessionCreator(
            snapshots,
            scaffold=scaffold,
            master=config.master,
            config=config.session_config,
            checkpoint_dir=config.model_dir,
        ),
        hooks=hooks,
    )


def _summary_hooks(config, scaffold) -> list:
    """Returns the hooks that write summaries in `model_dir`."""
    hooks: list = []
    if config.log_step_count_steps:
        hooks.append(
            v1.train.StepCounterHook(
                output_dir=config.model_dir,
                every_n_steps=config.log_step_count_steps,
            )
        )
    if config.save_summary_steps:
        hooks.append(
            v1.train.SummarySaverHook(
                scaffold=scaffold,
                save_steps=config.save_summary_steps,
                output_dir=config.model_dir,
            )
        )
    return hooks


class _RaisePushErrors(v1.train.SessionRunHook):
    """Raises the errors of last pushes, as the last hook of a session."""

    def __init__(self, pushing: list[DeltaPushHook]):
        self._pushing = pushing

    def end(self, session):
        """Runs when every other hook has ended."""
        for hook in self._pushing:
            hook.raise_error()


class _WorkerSessionCreator(v1.train.WorkerSessionCreator):
    """Waits until the chief has initialized or restored the graph.

    Checks that more often than TensorFlow. Variables stay initialized when a
    chief that was restarted restores them, so the tables tell that it does.
    """

    def __init__(self, generations: TableGenerations, **arguments):
        super().__init__(**arguments)
        self._generations = generations

    def create_session(self):
        while True:
            session = super().create_session()
            try:
                self._generations.read(session)
                return session
            except tf.errors.AbortedError as error:
                session.close()
                if not is_restore(error):
                    raise
            except tf.errors.OpError:
                # The step meets it, too, and recovers.
                return session
            time.sleep(_RECOVERY_WAIT_SECONDS)

    def _get_session_manager(self):
        manager = super()._get_session_manager()
        manager._recovery_wait_secs = _RECOVERY_WAIT_SECONDS
        return manager
