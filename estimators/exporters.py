"""Exporters: choose which evaluated checkpoints are exported."""

from __future__ import annotations

import abc
import json
import os
from collections.abc import Callable

import tensorflow as tf

from monolith_tf import failpoints


class Exporter(abc.ABC):
    """Exports evaluated checkpoints of `train_and_evaluate`, or skips them."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Folder of the exports in `<model_dir>/export`."""

    @abc.abstractmethod
    def export(
        self,
        estimator,
        export_path,
        checkpoint_path,
        eval_result,
        is_the_final_export,
    ):
        """Exports a checkpoint.

        Args:
            estimator: `Estimator`.
            export_path: The exporter's folder.
            checkpoint_path: The evaluated checkpoint.
            eval_result: The result of `Estimator.evaluate`.
            is_the_final_export: True when training is over.

        Returns:
            Path of the export, or None if there is none.
        """


class _Saving(Exporter):
    """Base of the exporters: saves the evaluated checkpoints it chooses."""

    def __init__(
        self,
        name,
        serving_input_receiver_fn,
        assets_extra,
        as_text,
        exports_to_keep=None,
    ):
        owner = type(self).__name__
        if not name:
            raise ValueError(f"{owner} needs a name. Received: {name!r}.")
        if serving_input_receiver_fn is None:
            raise ValueError(
                f"{owner} needs a serving_input_receiver_fn. Received: None."
            )
        if as_text:
            raise ValueError(
                "as_text must be False: exports are binary, as TensorFlow "
                "Serving reads them. Received: as_text=True."
            )
        if exports_to_keep is not None and exports_to_keep <= 0:
            raise ValueError(
                "exports_to_keep must be above 0 or None. Received: "
                f"{exports_to_keep}."
            )
        self._name = name
        self._receiver_fn = serving_input_receiver_fn
        self._assets_extra = assets_extra
        self._keep = exports_to_keep

    @property
    def name(self) -> str:
        return self._name

    def export(
        self,
        estimator,
        export_path,
        checkpoint_path,
        eval_result,
        is_the_final_export,
    ):
        """Exports a checkpoint that the exporter chooses."""
        if not self._chooses(export_path, eval_result, is_the_final_export):
            return None
        result = estimator.export_saved_model(
            export_path,
            self._receiver_fn,
            assets_extra=self._assets_extra,
            checkpoint_path=checkpoint_path,
        )
        self._note(export_path, eval_result)
        remove_old(export_path, self._keep)
        return result

    @abc.abstractmethod
    def _chooses(self, export_path, eval_result, is_the_final_export) -> bool:
        """Returns True if the evaluated checkpoint is to be exported."""

    def _note(self, export_path, eval_result) -> None:
        """Remembers the result of an exported checkpoint."""


class FinalExporter(_Saving):
    """Exports once, at the end.

    Args:
        name: Folder of the export.
        serving_input_receiver_fn: As in `Estimator.export_saved_model`.
        assets_extra: As in `Estimator.export_saved_model`.
        as_text: Must be False.

    Raises:
        ValueError: An argument has a wrong value.
    """

    def __init__(
        self, name, serving_input_receiver_fn, assets_extra=None, as_text=False
    ):
        """Checks the arguments."""
        super().__init__(name, serving_input_receiver_fn, assets_extra, as_text)

    def _chooses(self, export_path, eval_result, is_the_final_export) -> bool:
        return is_the_final_export


class LatestExporter(_Saving):
    """Exports after every evaluation, and keeps the latest exports.

    Args:
        name: Folder of the exports.
        serving_input_receiver_fn: As in `Estimator.export_saved_model`.
        assets_extra: As in `Estimator.export_saved_model`.
        as_text: Must be False.
        exports_to_keep: Number of exports to keep; None for all.

    Raises:
        ValueError: An argument has a wrong value.
    """

    def __init__(
        self,
        name,
        serving_input_receiver_fn,
        assets_extra=None,
        as_text=False,
        exports_to_keep=5,
    ):
        """Checks the arguments."""
        super().__init__(
            name,
            serving_input_receiver_fn,
            assets_extra,
            as_text,
            exports_to_keep,
        )

    def _chooses(self, export_path, eval_result, is_the_final_export) -> bool:
        return True


def loss_smaller(best_eval_result: dict, current_eval_result: dict) -> bool:
    """Returns True if the loss of the current result is the smaller one."""
    return current_eval_result["loss"] < best_eval_result["loss"]


class BestExporter(_Saving):
    """Exports each result that is better than all results before.

    The best result is stored in `best_result.json` in the exporter's folder, so
    a restarted job continues from it.

    Args:
        name: Folder of the exports.
        serving_input_receiver_fn: As in `Estimator.export_saved_model`.
        event_file_pattern: Ignored: the best result has its own file.
        compare_fn: `compare_fn(best_eval_result, current_eval_result)` returns
            True if the current result is better.
        assets_extra: As in `Estimator.export_saved_model`.
        as_text: Must be False.
        exports_to_keep: Number of exports to keep; None for all.

    Raises:
        ValueError: An argument has a wrong value.
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
        """Checks the arguments."""
        del event_file_pattern
        super().__init__(
            name,
            serving_input_receiver_fn,
            assets_extra,
            as_text,
            exports_to_keep,
        )
        self._compare = compare_fn

    def _chooses(self, export_path, eval_result, is_the_final_export) -> bool:
        file = _best_file(export_path)
        if not tf.io.gfile.exists(file):
            return True
        with tf.io.gfile.GFile(file) as stream:
            best = json.load(stream)
        return self._compare(
            best_eval_result=best, current_eval_result=eval_result
        )

    def _note(self, export_path, eval_result) -> None:
        file = _best_file(export_path)
        failpoints.hit("exporters.before_write")
        with tf.io.gfile.GFile(file + ".new", "w") as stream:
            json.dump(
                {
                    key: value
                    for key, value in eval_result.items()
                    if isinstance(value, (int, float))
                },
                stream,
            )
        failpoints.hit("exporters.before_rename")
        tf.io.gfile.rename(file + ".new", file, overwrite=True)
        failpoints.hit("exporters.after_rename")


def remove_old(export_path: str, keep: int | None) -> None:
    """Deletes all but the `keep` latest versions in a folder."""
    if keep is None:
        return
    versions = sorted(
        int(name.rstrip("/"))
        for name in tf.io.gfile.listdir(export_path)
        if name.rstrip("/").isdigit()
    )
    for version in versions[:-keep]:
        failpoints.hit("exporters.before_remove")
        tf.io.gfile.rmtree(os.path.join(export_path, str(version)))


def _best_file(export_path: str) -> str:
    return os.path.join(export_path, "best_result.json")
