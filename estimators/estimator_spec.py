"""Modes and results of a model_fn."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import tensorflow as tf

DEFAULT_SERVING_SIGNATURE = "serving_default"


class ModeKeys:
    """Modes of a model_fn; the strings are those of tf.estimator."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


class _Fields(NamedTuple):
    mode: str
    predictions: Any
    loss: Any
    train_op: Any
    eval_metric_ops: dict
    export_outputs: dict | None
    training_chief_hooks: tuple
    training_hooks: tuple
    scaffold: Any
    evaluation_hooks: tuple
    prediction_hooks: tuple


class EstimatorSpec(_Fields):
    """Operations and tensors that a model_fn returns.

    Args:
        mode: A `ModeKeys`.
        predictions: A tensor, or a dict of them.
        loss: Scalar, or `[1]`.
        train_op: Runs one step.
        eval_metric_ops: Name to a pair (value, update operation), or to a
            tf_keras metric that was updated.
        export_outputs: Signature name to a tensor or a dict of tensors.
        training_chief_hooks: `SessionRunHook`s of the chief in training.
        training_hooks: `SessionRunHook`s of every worker in training.
        scaffold: A `tf.compat.v1.train.Scaffold`.
        evaluation_hooks: `SessionRunHook`s of evaluations.
        prediction_hooks: `SessionRunHook`s of predictions.

    Raises:
        ValueError: An argument that the mode needs is missing.
        TypeError: An argument has a wrong type.

    Example:
    ```python
    def model_fn(features, labels, mode):
        logits = tf.compat.v1.layers.dense(features["x"], 1)
        loss = tf.reduce_mean(tf.square(logits - labels))
        optimizer = mt.optimizers.with_tables(
            tf.compat.v1.train.AdagradOptimizer(0.1))
        return EstimatorSpec(mode, loss=loss, train_op=optimizer.minimize(
            loss, tf.compat.v1.train.get_global_step()))
    ```
    """

    def __new__(
        cls,
        mode,
        predictions=None,
        loss=None,
        train_op=None,
        eval_metric_ops=None,
        export_outputs=None,
        training_chief_hooks=None,
        training_hooks=None,
        scaffold=None,
        evaluation_hooks=None,
        prediction_hooks=None,
    ):
        """Checks the arguments that the mode needs."""
        modes = (ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT)
        if mode not in modes:
            raise ValueError(
                f"EstimatorSpec: mode must be one of {modes}. Received: "
                f"{mode!r}. Pass on the mode that model_fn was called with."
            )
        needed = {
            ModeKeys.TRAIN: (("loss", loss), ("train_op", train_op)),
            ModeKeys.EVAL: (("loss", loss),),
            ModeKeys.PREDICT: (("predictions", predictions),),
        }
        for name, value in needed[mode]:
            if value is None:
                raise ValueError(
                    f"EstimatorSpec: mode {mode!r} needs {name}. Received: "
                    f"{name}=None. Pass {name}=..."
                )
        hooks = {
            "training_chief_hooks": _hooks(
                "training_chief_hooks", training_chief_hooks
            ),
            "training_hooks": _hooks("training_hooks", training_hooks),
            "evaluation_hooks": _hooks("evaluation_hooks", evaluation_hooks),
            "prediction_hooks": _hooks("prediction_hooks", prediction_hooks),
        }
        return super().__new__(
            cls,
            mode=mode,
            predictions={} if predictions is None else predictions,
            loss=None if loss is None else _scalar(loss),
            train_op=train_op,
            eval_metric_ops=_metrics(eval_metric_ops),
            export_outputs=export_outputs,
            scaffold=scaffold or tf.compat.v1.train.Scaffold(),
            **hooks,
        )


def _scalar(loss):
    loss = tf.convert_to_tensor(loss)
    if loss.shape.num_elements() not in (None, 1):
        raise ValueError(
            "EstimatorSpec: loss must be a scalar. Received: shape "
            f"{tuple(loss.shape)}. Use for instance tf.reduce_mean(loss)."
        )
    return tf.reshape(loss, [])


def _metrics(metrics: Mapping | None) -> dict:
    pairs = {}
    for name, metric in (metrics or {}).items():
        if hasattr(metric, "result") and hasattr(metric, "updates"):
            metric = (metric.result(), tf.group(*metric.updates))
        if not isinstance(metric, (tuple, list)) or len(metric) != 2:
            raise TypeError(
                f"EstimatorSpec: eval_metric_ops[{name!r}] must be a pair "
                "(value, update operation) as tf.compat.v1.metrics gives it, "
                f"or a tf_keras metric. Received: {metric!r}."
            )
        pairs[name] = tuple(metric)
    return pairs


def _hooks(what: str, hooks: Sequence | None) -> tuple:
    hooks = tuple(hooks or ())
    for hook in hooks:
        if not isinstance(hook, tf.compat.v1.train.SessionRunHook):
            raise TypeError(
                f"EstimatorSpec: {what} must be SessionRunHooks of "
                f"tf.compat.v1.train. Received: {hook!r}."
            )
    return hooks
