"""The training session: that of tf.compat.v1.train, with shorter waits."""

from __future__ import annotations

import time

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.checkpoint.tf1_graph import tables_in
from monolith_tf.estimators.delta_push_hook import DeltaPushHook
from monolith_tf.placement.table_set import servers_of
from monolith_tf.serving.trainer_state import is_restore

v1 = tf.compat.v1

# TensorFlow's 30 would be most of the time of a recovery.
_RECOVERY_WAIT_SECONDS = 1.0


def training_session(config, scaffold, hooks: list, chief_hooks: list):
    """Makes the session of a chief or a worker.

    Hooks that push deltas precede the one that saves checkpoints. So the last
    delta is acknowledged before the last checkpoint is written, and a restart
    after it has nothing to do.

    Args:
        config: `RunConfig`.
        scaffold: The completed scaffold.
        hooks: Hooks of every worker.
        chief_hooks: Hooks of the chief alone; they run first.
    """
    if not config.is_chief:
        return v1.train.MonitoredSession(
            session_creator=_WorkerSessionCreator(
                _status_of_tables(),
                scaffold=scaffold,
                master=config.master,
                config=config.session_config,
                max_wait_secs=config.session_creation_timeout_secs,
            ),
            hooks=hooks,
        )
    pushing = [hook for hook in hooks if isinstance(hook, DeltaPushHook)]
    return v1.train.MonitoredTrainingSession(
        master=config.master,
        is_chief=True,
        checkpoint_dir=config.model_dir,
        scaffold=scaffold,
        hooks=[hook for hook in hooks if hook not in pushing],
        chief_only_hooks=[*pushing, *chief_hooks],
        save_checkpoint_secs=0,
        save_summaries_steps=config.save_summary_steps,
        config=config.session_config,
        max_wait_secs=config.session_creation_timeout_secs,
        log_step_count_steps=config.log_step_count_steps,
        save_graph_def=config.checkpoint_save_graph_def,
    )


def _status_of_tables() -> list[tf.Tensor]:
    """Builds the operations that fail while tables are being restored."""
    table_sets = {
        table.table_set: None for table in tables_in(v1.get_default_graph())
    }
    status = []
    for table_set in table_sets:
        for device, handle in servers_of(table_set):
            with tf.device(device):
                status += ops.table_set_status(handle)
    return status


class _WorkerSessionCreator(v1.train.WorkerSessionCreator):
    """Waits until the chief has initialized or restored the graph.

    Checks that more often than TensorFlow. Variables stay initialized when a
    chief that was restarted restores them, so the tables tell that it does.
    """

    def __init__(self, status: list[tf.Tensor], **arguments):
        super().__init__(**arguments)
        self._status = status

    def create_session(self):
        while True:
            session = super().create_session()
            try:
                session.run(self._status)
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
