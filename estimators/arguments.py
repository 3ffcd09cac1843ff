"""Checks of arguments of an Estimator's methods."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.estimators.snapshot_hook import SnapshotHook


def checked_hooks(hooks: Sequence | None) -> list:
    """Returns the hooks as a list; rejects other objects."""
    hooks = list(hooks or ())
    for hook in hooks:
        if not isinstance(hook, tf.compat.v1.train.SessionRunHook):
            raise TypeError(
                "hooks must be SessionRunHooks of tf.compat.v1.train. "
                f"Received: {hook!r}."
            )
        if isinstance(hook, SnapshotHook):
            raise ValueError(
                "An Estimator makes its SnapshotHook itself. Received: "
                "hooks=[..., SnapshotHook(...)]. Use RunConfig(snapshots="
                "SnapshotConfig(...)) instead."
            )
    return hooks


def check_steps(steps: int | None, max_steps: int | None) -> None:
    """Rejects invalid numbers of steps."""
    if steps is not None and max_steps is not None:
        raise ValueError(
            "Give steps or max_steps, not both. Received: "
            f"steps={steps}, max_steps={max_steps}."
        )
    for name, value in (("steps", steps), ("max_steps", max_steps)):
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be above 0. Received: {value}.")


def chosen_predictions(predictions, keys):
    """Returns the requested predictions."""
    if keys is None:
        return predictions
    keys = [keys] if isinstance(keys, str) else list(keys)
    if not isinstance(predictions, dict):
        raise ValueError(
            "predict_keys needs predictions that are a dict. Received: "
            f"{predictions!r}."
        )
    chosen = {key: predictions[key] for key in keys if key in predictions}
    if not chosen:
        raise ValueError(
            f"predict_keys must be some of {sorted(predictions)}. Received: "
            f"{keys}."
        )
    return chosen


def batch_length(batch: dict) -> int:
    """Returns the number of examples of a batch of predictions."""
    lengths = {key: len(value) for key, value in batch.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            "Predictions need a common first dimension to be split. "
            f"Received: {lengths}. Pass yield_single_examples=False."
        )
    return next(iter(lengths.values()))
