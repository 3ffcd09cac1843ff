"""Trains, evaluates and serves a model that a model_fn builds."""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from monolith_tf import serving
from monolith_tf.checkpoint.checkpoint_folder import CheckpointFolder
from monolith_tf.estimators import arguments
from monolith_tf.estimators import graph_scaffold
from monolith_tf.estimators import inputs as inputs_lib
from monolith_tf.estimators import legacy_keras
from monolith_tf.estimators.checkpoint_model import CheckpointModel
from monolith_tf.estimators.estimator_spec import EstimatorSpec
from monolith_tf.estimators.estimator_spec import ModeKeys
from monolith_tf.estimators.keras_classes import kept_keras_classes
from monolith_tf.estimators.repeatable_step import RepeatableStep
from monolith_tf.estimators.run_config import RunConfig
from monolith_tf.estimators.training_session import last_step
from monolith_tf.estimators.training_session import training_session
from monolith_tf.estimators.warm_start import WarmStartSettings
from monolith_tf.placement.graph_scope import graph_servers
from monolith_tf.serving.export_record import ExportRecord
from monolith_tf.step.request_id import request_id

v1 = tf.compat.v1


class Estimator:
    """`tf.estimator.Estimator` with support for tables.

    Each call builds a new graph by `model_fn`; checkpoints in `model_dir` carry
    the state. Under `TF_CONFIG` with parameter servers, `train` is
    asynchronous: every worker builds the graph, and variables and tables are on
    the servers.

    Args:
        model_fn: `model_fn(features, labels, mode, params, config)` that
            returns an `EstimatorSpec`; all arguments except the first are
            optional in its signature.
        model_dir: Folder of checkpoints; that of `config`, or a temporary one.
        config: `RunConfig`.
        params: Passed to `model_fn`.
        warm_start_from: `WarmStartSettings`, or the path of a checkpoint.

    Raises:
        TypeError: `model_fn` or `config` has a wrong type.
        ValueError: Two different folders are given.

    Example:
    ```python
    estimator = Estimator(model_fn, "model")
    estimator.train(input_fn, steps=1000)
    print(estimator.evaluate(eval_input_fn)["loss"])
    ```
    """

    def __init__(
        self,
        model_fn: Callable,
        model_dir: str | os.PathLike | None = None,
        config: RunConfig | None = None,
        params: Any = None,
        warm_start_from=None,
    ):
        """Checks the arguments."""
        if not callable(model_fn) or not inputs_lib.takes(model_fn, "features"):
            raise TypeError(
                "Estimator needs a model_fn with an argument named features. "
                f"Received: {model_fn!r}."
            )
        if config is not None and not isinstance(config, RunConfig):
            raise TypeError(
                "Estimator needs a monolith_tf.estimators.RunConfig. Received: "
                f"{config!r} (of type {type(config).__name__})."
            )
        config = config or RunConfig()
        model_dir = None if model_dir is None else os.fspath(model_dir)
        if model_dir and config.model_dir and model_dir != config.model_dir:
            raise ValueError(
                f"model_dir is {model_dir!r}, but the RunConfig has "
                f"{config.model_dir!r}. Give one of them."
            )
        self._model_dir = model_dir or config.model_dir or tempfile.mkdtemp()
        self._config = config.replace(model_dir=self._model_dir)
        self._model_fn = model_fn
        self._params = copy.deepcopy({} if params is None else params)
        if warm_start_from is not None and not isinstance(
            warm_start_from, WarmStartSettings
        ):
            warm_start_from = WarmStartSettings(warm_start_from)
        self._warm_start = warm_start_from

    @property
    def model_dir(self) -> str:
        """Folder of the checkpoints."""
        return self._model_dir

    @property
    def config(self) -> RunConfig:
        """The run config."""
        return self._config

    @property
    def params(self):
        """A copy of the params that model_fn receives."""
        return copy.deepcopy(self._params)

    @property
    def model_fn(self) -> Callable:
        """The model_fn, bound to params and config."""
        return self._call_model_fn

    def latest_checkpoint(self) -> str | None:
        """Returns the latest checkpoint in `model_dir`, or None."""
        return tf.train.latest_checkpoint(self._model_dir)

    def get_variable_names(self) -> list[str]:
        """Returns the names in the latest checkpoint."""
        reader = tf.train.load_checkpoint(self._checkpoint(None))
        return sorted(reader.get_variable_to_shape_map())

    def get_variable_value(self, name: str) -> np.ndarray:
        """Returns a value of the latest checkpoint."""
        return tf.train.load_checkpoint(self._checkpoint(None)).get_tensor(name)

    def train(
        self,
        input_fn: Callable,
        hooks: Sequence | None = None,
        steps: int | None = None,
        max_steps: int | None = None,
        saving_listeners: Sequence | None = None,
    ) -> Estimator:
        """Trains until the input ends, or for a number of steps.

        Args:
            input_fn: Returns a `tf.data.Dataset` of (features, labels), or such
                a pair of tensors.
            hooks: `SessionRunHook`s.
            steps: Number of steps to make in this call.
            max_steps: The global step to stop at.
            saving_listeners: `CheckpointSaverListener`s.

        Returns:
            The estimator.

        Raises:
            ValueError: `steps` and `max_steps` are given, or one is not
                positive.
            CheckpointError: `model_dir` has checkpoints, and none is whole.
        """
        hooks = arguments.checked_hooks(hooks)
        arguments.check_steps(steps, max_steps)
        if self._config.is_chief:
            CheckpointFolder(self.model_dir).require_whole()
        if max_steps is not None:
            if last_step(self._config) >= max_steps:
                v1.logging.info("Skipping training: max_steps was reached.")
                return self
        if steps is not None or max_steps is not None:
            hooks.append(v1.train.StopAtStepHook(steps, max_steps))
        config = self._config
        with (
            tf.Graph().as_default() as graph,
            graph.device(config.training_device_fn()),
            graph_servers(config.ps_devices or [_LOCAL]),
        ):
            spec, train_op, input_hooks = self._build_training(input_fn)
            if not any(
                summary.op.name == "loss"
                for summary in graph.get_collection(v1.GraphKeys.SUMMARIES)
            ):
                v1.summary.scalar("loss", spec.loss)
            # The chief alone sets initial values, if there is no checkpoint.
            warm = None
            if config.is_chief and self.latest_checkpoint() is None:
                warm = self._warm_start
            scaffold = graph_scaffold.complete(
                spec.scaffold, graph, config, warm
            )
            hooks += [*input_hooks, v1.train.NanTensorHook(spec.loss)]
            if config.log_step_count_steps:
                hooks.append(
                    v1.train.LoggingTensorHook(
                        {
                            "loss": spec.loss,
                            "step": v1.train.get_global_step(),
                        },
                        every_n_iter=config.log_step_count_steps,
                    )
                )
            hooks += spec.training_hooks
            chief_hooks = graph_scaffold.chief_hooks(
                spec, hooks, scaffold, config, saving_listeners
            )
            with training_session(
                config, scaffold, hooks, chief_hooks
            ) as session:
                loss = None
                while not session.should_stop():
                    _, loss = session.run([train_op, spec.loss])
            v1.logging.info("Loss for final step: %s.", loss)
        v1.summary.FileWriterCache.clear()
        return self

    def evaluate(
        self,
        input_fn: Callable,
        steps: int | None = None,
        hooks: Sequence | None = None,
        checkpoint_path: str | None = None,
        name: str | None = None,
    ) -> dict:
        """Evaluates a checkpoint, in this process.

        Args:
            input_fn: As for `train`.
            steps: Number of batches; None until the input ends.
            hooks: `SessionRunHook`s.
            checkpoint_path: Checkpoint; None for the latest. Without a
                checkpoint, the initial values of a training are evaluated.
            name: Summaries are written to `<model_dir>/eval_<name>`.

        Returns:
            The metrics by name, with "loss" and "global_step".

        Raises:
            ValueError: `steps` is not positive.
        """
        hooks = arguments.checked_hooks(hooks)
        arguments.check_steps(steps, None)
        path = self._checkpoint_or_none(checkpoint_path)
        with (
            tf.Graph().as_default() as graph,
            graph_servers([_LOCAL]),
        ):
            spec, input_hooks = self._build(input_fn, ModeKeys.EVAL)
            metrics = dict(spec.eval_metric_ops)
            if "loss" not in metrics:
                metrics["loss"] = v1.metrics.mean(spec.loss)
            values = {key: value for key, (value, _) in metrics.items()}
            values["global_step"] = v1.train.get_global_step()
            updates = tf.group(*[update for _, update in metrics.values()])
            final = v1.train.FinalOpsHook(values)
            hooks += [*input_hooks, *spec.evaluation_hooks, final]
            with self._local_session(spec, graph, path, hooks) as session:
                done = 0
                while not session.should_stop() and done != steps:
                    session.run(updates)
                    done += 1
            results = {
                key: value.item() if value.ndim == 0 else value
                for key, value in (
                    (key, np.asarray(value))
                    for key, value in final.final_ops_values.items()
                )
            }
            self._write_summary(results, name)
        return results

    def predict(
        self,
        input_fn: Callable,
        predict_keys: Sequence[str] | str | None = None,
        hooks: Sequence | None = None,
        checkpoint_path: str | None = None,
        yield_single_examples: bool = True,
    ) -> Iterator:
        """Yields the predictions of a checkpoint, computed in this process.

        Args:
            input_fn: Returns features, with labels or without.
            predict_keys: Names of the predictions; None for all.
            hooks: `SessionRunHook`s.
            checkpoint_path: As for `evaluate`.
            yield_single_examples: True to split batches into examples.

        Yields:
            A dict of arrays (an array, if the predictions are not a dict) per
            example or batch.

        Raises:
            ValueError: `predict_keys` has no prediction of the model.
        """
        hooks = arguments.checked_hooks(hooks)
        path = self._checkpoint_or_none(checkpoint_path)
        with (
            tf.Graph().as_default() as graph,
            graph_servers([_LOCAL]),
        ):
            spec, input_hooks = self._build(input_fn, ModeKeys.PREDICT)
            predictions = arguments.chosen_predictions(
                spec.predictions, predict_keys
            )
            hooks += [*input_hooks, *spec.prediction_hooks]
            session = self._local_session(spec, graph, path, hooks)
        with session:
            while not session.should_stop():
                batch = session.run(predictions)
                if not yield_single_examples:
                    yield batch
                elif isinstance(batch, dict):
                    for number in range(arguments.batch_length(batch)):
                        yield {key: v[number] for key, v in batch.items()}
                else:
                    yield from batch

    def export_saved_model(
        self,
        export_dir_base: str | os.PathLike,
        serving_input_receiver_fn: Callable,
        assets_extra: dict | None = None,
        as_text: bool = False,
        checkpoint_path: str | None = None,
        experimental_mode: str = ModeKeys.PREDICT,
    ) -> ExportRecord:
        """Exports a checkpoint by `mt.serving.export_saved_model`.

        Args:
            export_dir_base: Folder of the versions; the new one is a time
                stamp.
            serving_input_receiver_fn: Returns a `ServingInputReceiver`.
            assets_extra: Must be None.
            as_text: Must be False.
            checkpoint_path: Checkpoint; None for the latest.
            experimental_mode: Must be "infer".

        Returns:
            The record of the export, also the path of the version.

        Raises:
            ValueError: There is no checkpoint, or an argument is not supported.
            ExportError: The model has parts that a stock server can't load.
        """
        if assets_extra or as_text or experimental_mode != ModeKeys.PREDICT:
            raise ValueError(
                "export_saved_model takes no assets_extra, as_text or "
                "experimental_mode. Received: "
                f"{assets_extra!r}, {as_text!r}, {experimental_mode!r}. Leave "
                "them out."
            )
        path = self._checkpoint(checkpoint_path)
        model = self.serving_model(serving_input_receiver_fn, path)
        os.makedirs(export_dir_base, exist_ok=True)
        versions = [int(n) for n in os.listdir(export_dir_base) if n.isdigit()]
        return serving.export_saved_model(
            model,
            export_dir_base,
            version=max([int(time.time()), *(v + 1 for v in versions)]),
            inputs=model.input_specs,
        )

    def serving_model(
        self,
        serving_input_receiver_fn: Callable,
        checkpoint_path: str | None = None,
        tables: list | None = None,
    ) -> CheckpointModel:
        """Makes the model for `mt.serving.export_saved_model`.

        Args:
            serving_input_receiver_fn: Returns a `ServingInputReceiver`.
            checkpoint_path: Checkpoint of the values; None if they are set
                later.
            tables: Substitutes for the tables; None for those of the
                checkpoint.
        """

        def build():
            v1.train.get_or_create_global_step()
            receiver = serving_input_receiver_fn()
            spec = self._call_model_fn(
                receiver.features, None, ModeKeys.PREDICT
            )
            return receiver, spec

        return CheckpointModel(build, checkpoint_path, self._model_dir, tables)

    def _local_session(self, spec, graph, path, hooks):
        scaffold = graph_scaffold.complete(
            spec.scaffold,
            graph,
            self._config,
            self._warm_start if path is None else None,
        )
        # Finalized here, because a generator uses its session outside of the
        # graph.
        scaffold.finalize()
        return v1.train.MonitoredSession(
            v1.train.ChiefSessionCreator(
                scaffold=scaffold,
                checkpoint_filename_with_path=path,
                config=self._config.local_session_config,
            ),
            hooks=hooks,
        )

    def _build(self, input_fn: Callable, mode: str):
        """Builds the model in the current graph."""
        found = self._call_input_fn(input_fn, mode)
        features, labels, hooks = inputs_lib.features_and_labels(found)
        return self._call_model_fn(features, labels, mode), hooks

    def _build_training(self, input_fn: Callable):
        """Builds the training; on parameter servers as a repeatable step."""
        config = self._config
        found = self._call_input_fn(input_fn, ModeKeys.TRAIN)
        repeats = config.num_ps_replicas and isinstance(found, tf.data.Dataset)
        if not repeats:
            features, labels, hooks = inputs_lib.features_and_labels(found)
            spec = self._call_model_fn(features, labels, ModeKeys.TRAIN)
            return spec, spec.train_op, hooks
        step = RepeatableStep(config.worker_device, found)
        features, labels, _ = inputs_lib.features_and_labels(step.batch)
        with request_id(step.number, step.client):
            spec = self._call_model_fn(features, labels, ModeKeys.TRAIN)
        return spec, step.done(spec.train_op, spec.loss), [step]

    def _call_input_fn(self, input_fn: Callable, mode: str):
        v1.set_random_seed(self._config.tf_random_seed)
        v1.train.get_or_create_global_step()
        return inputs_lib.call_with_known(
            input_fn, mode=mode, params=self.params, config=self._config
        )

    def _call_model_fn(self, features, labels, mode) -> EstimatorSpec:
        optional = {
            "mode": mode,
            "params": self.params,
            "config": self._config,
        }
        if inputs_lib.takes(self._model_fn, "labels"):
            optional["labels"] = labels
        elif labels is not None:
            raise ValueError(
                "input_fn returns labels, but model_fn does not take them. Add "
                "an argument named labels to model_fn."
            )
        try:
            with kept_keras_classes():
                spec = inputs_lib.call_with_known(
                    self._model_fn, features=features, **optional
                )
        except (AttributeError, ImportError) as error:
            legacy_keras.explain(error)
            raise
        if not isinstance(spec, EstimatorSpec):
            raise ValueError(
                "model_fn must return a monolith_tf.estimators.EstimatorSpec. "
                f"Received: {spec!r}."
            )
        return spec

    def _checkpoint_or_none(self, path: str | None) -> str | None:
        path = path or self.latest_checkpoint()
        if path is None:
            v1.logging.info(
                f"There is no checkpoint in {self._model_dir!r}: values are "
                "initial ones."
            )
        return path

    def _checkpoint(self, path: str | None) -> str:
        path = path or self.latest_checkpoint()
        if path is None:
            raise ValueError(
                f"There is no checkpoint in model_dir {self._model_dir!r}. "
                "Call train first, or pass checkpoint_path."
            )
        return path

    def eval_dir(self, name: str | None = None) -> str:
        """Returns the folder of the summaries of a named evaluation."""
        return os.path.join(self._model_dir, f"eval_{name}" if name else "eval")

    def _write_summary(self, results: dict, name: str | None) -> None:
        writer = v1.summary.FileWriter(self.eval_dir(name))
        summary = v1.Summary()
        for key, value in results.items():
            if key != "global_step" and isinstance(value, (int, float)):
                summary.value.add(tag=key, simple_value=value)
        writer.add_summary(summary, results["global_step"])
        writer.close()


_LOCAL = "/device:CPU:0"
