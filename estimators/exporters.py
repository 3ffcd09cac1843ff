"""Exporters: which of the checkpoints that were evaluated are exported."""

from __future__ import annotations

import abc
import json
import os
from collections.abc import Callable

import tensorflow as tf


class Exporter(abc.ABC):
    """Exports, or not, after each evaluation of train_and_evaluate."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The folder of its exports in `<model_dir>/export`."""

    @abc.abstractmethod
    def export(
        self,
        estimator,
        export_path,
        checkpoint_path,
        eval_result,
        is_the_final_export,
    ):
        """Exports a checkpoint; returns where, or None.

        Args:
            estimator: `Estimator`.
            export_path: The exporter's folder.
            checkpoint_path: What was evaluated.
            eval_result: What `Estimator.evaluate` returned.
            is_the_final_export: Whether training is over.
        """


class _Saving(Exporter):
    """What the exporters have in common."""

    def __init__(self, name, serving_input_receiver_fn, assets_extra):
        if not name:
            raise ValueError(
                f"{type(self).__name__} needs a name. Received: {name!r}."
            )
        self._name = name
        self._receiver_fn = serving_input_receiver_fn
        self._assets_extra = assets_extra

    @property
    def name(self) -> str:
        return self._name

    def _save(self, estimator, export_path, checkpoint_path):
        return estimator.export_saved_model(
            export_path,
            self._receiver_fn,
            assets_extra=self._assets_extra,
            checkpoint_path=checkpoint_path,
        )


class FinalExporter(_Saving):
    """Exports once, at the end.

    Args:
        name: Folder of the export.
        serving_input_receiver_fn: As of `Estimator.export_saved_model`.
        assets_extra: As there.
        as_text: Must be False.
    """

    def __init__(
        self, name, serving_input_receiver_fn, assets_extra=None, as_text=False
    ):
        """Keeps the arguments."""
        _refuse_text(as_text)
        super().__init__(name, serving_input_receiver_fn, assets_extra)

    def export(
        self,
        estimator,
        export_path,
        checkpoint_path,
        eval_result,
        is_the_final_export,
    ):
        """Exports if training is over."""
        if not is_the_final_export:
            return None
        return self._save(estimator, export_path, checkpoint_path)


class LatestExporter(_Saving):
    """Exports after every evaluation, and keeps the latest ones.

    Args:
        name: Folder of the exports.
        serving_input_receiver_fn: As of `Estimator.export_saved_model`.
        assets_extra: As there.
        as_text: Must be False.
        exports_to_keep: How many; None for all.
    """

    def __init__(
        self,
        name,
        serving_input_receiver_fn,
        assets_extra=None,
        as_text=False,
        exports_to_keep=5,
    ):
        """Keeps the arguments."""
        _refuse_text(as_text)
        super().__init__(name, serving_input_receiver_fn, assets_extra)
        self._keep = _checked_keep(exports_to_keep)

    def export(
        self,
        estimator,
        export_path,
        checkpoint_path,
        eval_result,
        is_the_final_export,
    ):
        """Exports, and removes what is too old."""
        result = self._save(estimator, export_path, checkpoint_path)
        remove_old(export_path, self._keep)
        return result


def loss_smaller(best_eval_result: dict, current_eval_result: dict) -> bool:
    """Returns whether the loss of the current result is the smaller one."""
    return current_eval_result["loss"] < best_eval_result["loss"]


class BestExporter(_Saving):
    """Exports what is better than all that was exported before.

    The best result is kept in `best_result.json` in the exporter's folder, so
    that a restart goes on from it.

    Args:
        name: Folder of the exports.
        serving_input_receiver_fn: As of `Estimator.export_saved_model`.
        event_file_pattern: Not used: the best result is in a file of its own.
        compare_fn: `compare_fn(best_eval_result, current_eval_result)` returns
            whether the current one is better.
        assets_extra: As of `Estimator.export_saved_model`.
        as_text: Must be False.
        exports_to_keep: How many; None for all.
    """

    def __init__(
        self,
        name="best_exporter",
        serving_input_receiver_fn=None,
        event_file_pattern=None,
        compare_fn: Callable = loss_smaller,
        assets_extra=None,
        as_text=False,
        exports_to_keep=5,
    ):
        """Keeps the arguments."""
        _refuse_text(as_text)
        del event_file_pattern
        if serving_input_receiver_fn is None:
            raise ValueError("BestExporter needs a serving_input_receiver_fn.")
        super().__init__(name, serving_input_receiver_fn, assets_extra)
        self._compare = compare_fn
        self._keep = _checked_keep(exports_to_keep)

    def export(
        self,
        estimator,
        export_path,
        checkpoint_path,
        eval_result,
        is_the_final_export,
    ):
        """Exports if the result is better than the best one."""
        file = os.path.join(export_path, "best_result.json")
        if tf.io.gfile.exists(file):
            with tf.io.gfile.GFile(file) as stream:
                best = json.load(stream)
            if not self._compare(
                best_eval_result=best, current_eval_result=eval_result
            ):
                return None
        result = self._save(estimator, export_path, checkpoint_path)
        with tf.io.gfile.GFile(file + ".new", "w") as stream:
            json.dump(
                {
                    key: value
                    for key, value in eval_result.items()
                    if isinstance(value, (int, float))
                },
                stream,
            )
        tf.io.gfile.rename(file + ".new", file, overwrite=True)
        remove_old(export_path, self._keep)
        return result


def remove_old(export_path: str, keep: int | None) -> None:
    """Removes all but the latest versions in a folder."""
    if keep is None:
        return
    versions = sorted(
        int(name.rstrip("/"))
        for name in tf.io.gfile.listdir(export_path)
        if name.rstrip("/").isdigit()
    )
    for version in versions[:-keep]:
        tf.io.gfile.rmtree(os.path.join(export_path, str(version)))


def _checked_keep(number: int | None) -> int | None:
    if number is not None and number <= 0:
        raise ValueError(
            f"exports_to_keep must be above 0 or None. Received: {number}."
        )
    return number


def _refuse_text(as_text: bool) -> None:
    if as_text:
        raise ValueError(
            "as_text must be False: exports are binary, as TensorFlow Serving "
            "reads them. Received: as_text=True."
        )
