"""Specs of the training and the evaluation of train_and_evaluate."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from monolith_tf.estimators.exporters import Exporter


class _TrainFields(NamedTuple):
    input_fn: Callable
    max_steps: int | None
    hooks: tuple
    saving_listeners: tuple


class TrainSpec(_TrainFields):
    """Spec of the training.

    Args:
        input_fn: As for `Estimator.train`.
        max_steps: The global step to stop at; None until the input ends.
        hooks: `SessionRunHook`s of every worker.
        saving_listeners: `CheckpointSaverListener`s of the chief.
    """

    def __new__(
        cls, input_fn, max_steps=None, hooks=None, saving_listeners=None
    ):
        """Checks the arguments."""
        _check_callable("TrainSpec", input_fn)
        if max_steps is not None and max_steps <= 0:
            raise ValueError(
                f"TrainSpec: max_steps must be above 0. Received: {max_steps}."
            )
        return super().__new__(
            cls,
            input_fn,
            max_steps,
            _checked_hooks("TrainSpec", hooks),
            tuple(saving_listeners or ()),
        )


class _EvalFields(NamedTuple):
    input_fn: Callable
    steps: int | None
    name: str | None
    hooks: tuple
    exporters: tuple
    start_delay_secs: int
    throttle_secs: int


class EvalSpec(_EvalFields):
    """Spec of the evaluation.

    Args:
        input_fn: As for `Estimator.evaluate`.
        steps: Number of batches; None until the input ends.
        name: Summaries are written to `eval_<name>`.
        hooks: `SessionRunHook`s.
        exporters: An `Exporter`, or several with different names.
        start_delay_secs: Delay of an evaluator before its first evaluation.
        throttle_secs: Least time between the starts of two evaluations.
    """

    def __new__(
        cls,
        input_fn,
        steps=100,
        name=None,
        hooks=None,
        exporters=None,
        start_delay_secs=120,
        throttle_secs=600,
    ):
        """Checks the arguments."""
        _check_callable("EvalSpec", input_fn)
        if steps is not None and steps <= 0:
            raise ValueError(
                f"EvalSpec: steps must be above 0 or None. Received: {steps}."
            )
        for what, value in (
            ("start_delay_secs", start_delay_secs),
            ("throttle_secs", throttle_secs),
        ):
            if value < 0:
                raise ValueError(
                    f"EvalSpec: {what} must be 0 or more. Received: {value}."
                )
        if isinstance(exporters, Exporter):
            exporters = [exporters]
        exporters = tuple(exporters or ())
        for exporter in exporters:
            if not isinstance(exporter, Exporter):
                raise TypeError(
                    "EvalSpec: exporters must be Exporters. Received: "
                    f"{exporter!r}."
                )
        names = [exporter.name for exporter in exporters]
        if len(set(names)) < len(names):
            raise ValueError(
                "EvalSpec: exporters must have different names. Received: "
                f"{names}."
            )
        return super().__new__(
            cls,
            input_fn,
            steps,
            name,
            _checked_hooks("EvalSpec", hooks),
            exporters,
            start_delay_secs,
            throttle_secs,
        )


def _check_callable(what: str, input_fn) -> None:
    if not callable(input_fn):
        raise TypeError(
            f"{what}: input_fn must be a function. Received: {input_fn!r}."
        )


def _checked_hooks(what: str, hooks: Sequence | None) -> tuple:
    hooks = tuple(hooks or ())
    for hook in hooks:
        if not isinstance(hook, tf.compat.v1.train.SessionRunHook):
            raise TypeError(
                f"{what}: hooks must be SessionRunHooks of "
                f"tf.compat.v1.train. Received: {hook!r}."
            )
    return hooks
