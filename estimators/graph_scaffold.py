"""The scaffold of a session, completed for tables."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.checkpoint.checkpoint_state import newest_whole
from monolith_tf.checkpoint.durable_saver import DurableSaver
from monolith_tf.checkpoint.tf1_graph import saved_variables
from monolith_tf.estimators.warm_start import WarmStartSettings
from monolith_tf.estimators.warm_start import warm_start

v1 = tf.compat.v1


def repair_checkpoints(config) -> None:
    """Names the newest whole checkpoint if the latest one is damaged.

    Does nothing unless this process is the chief.

    Args:
        config: `RunConfig`.

    Raises:
        CheckpointError: There are checkpoints, and none is whole.
    """
    if config.is_chief:
        newest_whole(config.model_dir)


def complete(
    scaffold,
    graph: tf.Graph,
    config,
    warm_start_from: WarmStartSettings | None,
):
    """Completes the scaffold of a model_fn.

    The initializers of the graph's variables create tables, and its saver
    restores them; the ready op waits for both
    (`monolith_tf.checkpoint.tf1_graph`).

    Args:
        scaffold: `tf.compat.v1.train.Scaffold` of the model_fn.
        graph: The complete graph.
        config: `RunConfig`.
        warm_start_from: Start of a training without a checkpoint, or None.

    Returns:
        A scaffold.
    """
    saver = scaffold.saver
    if saver is None and not graph.get_collection(v1.GraphKeys.SAVERS):
        saver = DurableSaver(
            saved_variables(graph),
            sharded=True,
            max_to_keep=config.keep_checkpoint_max,
            keep_checkpoint_every_n_hours=(
                config.keep_checkpoint_every_n_hours
            ),
            save_relative_paths=True,
        )
        graph.add_to_collection(v1.GraphKeys.SAVERS, saver)
    init_op = scaffold.init_op
    if warm_start_from is not None:
        # First, because it changes the initializers.
        restored = warm_start(warm_start_from, graph, init_op)
        init_op = tf.group(*restored)
    return v1.train.Scaffold(
        saver=saver, init_op=init_op, copy_from_scaffold=scaffold
    )


def chief_hooks(
    spec, hooks: Sequence, scaffold, config, saving_listeners
) -> list:
    """Returns the hooks of the chief, with one that saves checkpoints.

    Args:
        spec: `EstimatorSpec`.
        hooks: Hooks of every worker.
        scaffold: The completed scaffold.
        config: `RunConfig`.
        saving_listeners: `CheckpointSaverListener`s, or None.
    """
    chief = list(spec.training_chief_hooks)
    listeners = list(saving_listeners or ())
    savers = [
        hook
        for hook in [*hooks, *chief]
        if isinstance(hook, v1.train.CheckpointSaverHook)
    ]
    if not savers and (
        config.save_checkpoints_secs or config.save_checkpoints_steps
    ):
        savers = [
            v1.train.CheckpointSaverHook(
                config.model_dir,
                save_secs=config.save_checkpoints_secs,
                save_steps=config.save_checkpoints_steps,
                scaffold=scaffold,
                save_graph_def=config.checkpoint_save_graph_def,
            )
        ]
        chief += savers
    if listeners and not savers:
        raise ValueError(
            "saving_listeners need checkpoints: set save_checkpoints_steps or "
            "save_checkpoints_secs of the RunConfig."
        )
    if listeners:
        savers[0]._listeners.extend(listeners)
    return chief
