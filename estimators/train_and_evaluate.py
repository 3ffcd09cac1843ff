"""Training, evaluation and export, alone or as a task of a cluster."""

from __future__ import annotations

import os
import threading
import time

import tensorflow as tf

from monolith_tf.cluster.role_metrics import serve_role_metrics
from monolith_tf.errors import CheckpointError
from monolith_tf.estimators import run_config
from monolith_tf.estimators.train_spec import EvalSpec
from monolith_tf.estimators.train_spec import TrainSpec

v1 = tf.compat.v1
_POLL_SECONDS = 1.0


def train_and_evaluate(estimator, train_spec: TrainSpec, eval_spec: EvalSpec):
    """Runs the task of this process, as in tf.estimator.

    Without a cluster it trains, evaluates checkpoints at least `throttle_secs`
    apart, and exports. Under `TF_CONFIG` the chief and the workers train, a
    parameter server serves and never returns, and an evaluator evaluates and
    exports the checkpoints of the chief until the training ends.

    Args:
        estimator: `Estimator`.
        train_spec: `TrainSpec`.
        eval_spec: `EvalSpec`.

    Returns:
        Without a cluster, the results of the last evaluation and those of the
        exporters; else None.

    Raises:
        TypeError: A spec has a wrong type.
        ValueError: The cluster has no parameter server, or `max_steps` of an
            evaluator is None.
    """
    for what, spec, kind in (
        ("train_spec", train_spec, TrainSpec),
        ("eval_spec", eval_spec, EvalSpec),
    ):
        if not isinstance(spec, kind):
            raise TypeError(
                f"train_and_evaluate: {what} must be a {kind.__name__}. "
                f"Received: {spec!r}."
            )
    config = estimator.config
    if config.task_type == run_config.EVALUATOR:
        _evaluate_checkpoints(estimator, train_spec, eval_spec)
        return None
    if not config.cluster_spec:
        return _train_alone(estimator, train_spec, eval_spec)
    if not config.num_ps_replicas:
        raise ValueError(
            "train_and_evaluate: the cluster of TF_CONFIG has no parameter "
            f"servers: {config.cluster_spec.as_dict()}. Give it a list of "
            '"ps", or leave the cluster out.'
        )
    # First, so that a reachable server has reachable metrics.
    serve_role_metrics()
    server = tf.distribute.Server(
        config.cluster_spec,
        job_name=config.task_type,
        task_index=config.task_id,
        protocol=config.protocol or "grpc",
        config=config.session_config,
        start=True,
    )
    if config.task_type == run_config.PS:
        server.join()
    estimator.train(
        train_spec.input_fn,
        hooks=train_spec.hooks,
        max_steps=train_spec.max_steps,
        saving_listeners=train_spec.saving_listeners,
    )
    return None


class _EvaluateAtCheckpoint(v1.train.CheckpointSaverListener):
    """Evaluates a saved checkpoint between two steps of the training."""

    def __init__(self, evaluate, throttle_secs: float, max_steps: int | None):
        self._evaluate = evaluate
        self._max_steps = max_steps
        self._throttle_secs = throttle_secs
        self._last = time.monotonic()
        self._is_first = True

    def after_save(self, session, global_step_value):
        del session
        if self._is_first:  # The one before the first step.
            self._is_first = False
            return
        if self._max_steps is not None and global_step_value >= self._max_steps:
            return  # The final evaluation is of this one.
        if time.monotonic() - self._last >= self._throttle_secs:
            self._evaluate(False)
            self._last = time.monotonic()


def _train_alone(estimator, train_spec, eval_spec):
    done: dict = {}

    def evaluate(is_final: bool) -> None:
        # In a new thread, where no graph or device of the training is open.
        failures: list = []

        def run():
            try:
                done.update(_evaluate(estimator, eval_spec, is_final))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    estimator.train(
        train_spec.input_fn,
        hooks=train_spec.hooks,
        max_steps=train_spec.max_steps,
        saving_listeners=[
            *train_spec.saving_listeners,
            _EvaluateAtCheckpoint(
                evaluate, eval_spec.throttle_secs, train_spec.max_steps
            ),
        ],
    )
    evaluate(True)
    return done["results"], done["exports"]


def _evaluate(estimator, eval_spec, is_final: bool, checkpoint=None) -> dict:
    """Evaluates a checkpoint and calls the exporters."""
    checkpoint = checkpoint or estimator.latest_checkpoint()
    results = estimator.evaluate(
        eval_spec.input_fn,
        steps=eval_spec.steps,
        hooks=eval_spec.hooks,
        checkpoint_path=checkpoint,
        name=eval_spec.name,
    )
    exports = []
    for exporter in eval_spec.exporters:
        folder = os.path.join(estimator.model_dir, "export", exporter.name)
        tf.io.gfile.makedirs(folder)
        exports.append(
            exporter.export(
                estimator=estimator,
                export_path=folder,
                checkpoint_path=checkpoint,
                eval_result=results,
                is_the_final_export=is_final,
            )
        )
    return {"results": results, "exports": exports}


def _evaluate_checkpoints(estimator, train_spec, eval_spec) -> None:
    """Evaluates checkpoints until the last one."""
    if train_spec.max_steps is None:
        raise ValueError(
            "train_and_evaluate: an evaluator needs TrainSpec(max_steps=...) "
            "to know when training is over. Received: max_steps=None."
        )
    time.sleep(eval_spec.start_delay_secs)
    evaluated = None
    while True:
        started = time.monotonic()
        checkpoint = estimator.latest_checkpoint()
        if checkpoint is None or checkpoint == evaluated:
            time.sleep(_POLL_SECONDS)
            continue
        try:
            step = tf.train.load_variable(checkpoint, v1.GraphKeys.GLOBAL_STEP)
            is_final = int(step) >= train_spec.max_steps
            _evaluate(estimator, eval_spec, is_final, checkpoint)
        except (ValueError, tf.errors.OpError, CheckpointError):
            if tf.io.gfile.exists(checkpoint + ".index"):
                raise
            # The chief has deleted it in the meantime.
            v1.logging.warning(
                f"{checkpoint} was removed before it was evaluated; the "
                "evaluator continues with the latest one. A larger "
                "RunConfig(keep_checkpoint_max=...) keeps them longer."
            )
            time.sleep(_POLL_SECONDS)
            continue
        evaluated = checkpoint
        if is_final:
            return
        time.sleep(
            max(0.0, eval_spec.throttle_secs - (time.monotonic() - started))
        )
