"""Conversion of a compiled tf_keras model to an Estimator and back."""

from __future__ import annotations

import os

import tensorflow as tf
import tf_keras

from monolith_tf.checkpoint import by_name
from monolith_tf.estimators.estimator import Estimator
from monolith_tf.estimators.estimator_spec import EstimatorSpec
from monolith_tf.estimators.estimator_spec import ModeKeys
from monolith_tf.estimators.keras_classes import kept_keras_classes
from monolith_tf.estimators.warm_start import WarmStartSettings
from monolith_tf.placement.registry import tables_of
from monolith_tf.step.table_variable import TableVariable

v1 = tf.compat.v1
_ATTRIBUTE = "/.ATTRIBUTES/VARIABLE_VALUE"


def model_to_estimator(
    keras_model=None,
    keras_model_path: str | os.PathLike | None = None,
    custom_objects: dict | None = None,
    model_dir: str | os.PathLike | None = None,
    config=None,
) -> KerasEstimator:
    """Makes an Estimator that continues the training of a Keras model.

    Weights, rows, slots and steps are those of the model at the call;
    `KerasEstimator.restore_into` copies the same bits back.

    Args:
        keras_model: A compiled tf_keras model, functional or sequential, with
            one output and one loss.
        keras_model_path: Path of a .keras file instead of a model.
        custom_objects: Custom classes of the model, by name.
        model_dir: As for `Estimator`.
        config: As for `Estimator`.

    Raises:
        ValueError: Both models are given or none, the model is not compiled, or
            it has several outputs or losses.
        TypeError: `keras_model` is not a tf_keras model.
    """
    if (keras_model is None) == (keras_model_path is None):
        raise ValueError(
            "model_to_estimator: give keras_model or keras_model_path. "
            f"Received: {keras_model!r} and {keras_model_path!r}."
        )
    if keras_model is None:
        keras_model = tf_keras.models.load_model(
            keras_model_path, custom_objects
        )
    if not isinstance(keras_model, tf_keras.Model):
        raise TypeError(
            "model_to_estimator: keras_model must be a tf_keras model. "
            f"Received: {keras_model!r} (of type {type(keras_model)})."
        )
    if keras_model.optimizer is None or keras_model.loss is None:
        raise ValueError(
            f"model_to_estimator: model {keras_model.name!r} is not compiled. "
            "Call model.compile(optimizer, loss)."
        )
    if len(keras_model.outputs or ()) != 1 or isinstance(
        keras_model.loss, (dict, list, tuple)
    ):
        raise ValueError(
            "model_to_estimator: the model must be functional or sequential, "
            "with one output and one loss. Received: outputs "
            f"{keras_model.outputs} and loss {keras_model.loss!r}. Write a "
            "model_fn for another."
        )
    return KerasEstimator(keras_model, custom_objects, model_dir, config)


class KerasEstimator(Estimator):
    """An Estimator of a Keras model; `model_to_estimator` makes it.

    Args:
        keras_model: The model.
        custom_objects: Custom classes of the model, by name.
        model_dir: As for `Estimator`.
        config: As for `Estimator`.
    """

    def __init__(self, keras_model, custom_objects, model_dir, config):
        """Saves the model as the start of the training."""
        self._copy = _Copy(keras_model, custom_objects)
        super().__init__(self._copy.model_fn, model_dir, config)
        state = _dense_state(keras_model, keras_model.optimizer)
        with tf.Graph().as_default(), kept_keras_classes():
            names = self._copy.names_of_state()
        start = os.path.join(self.model_dir, "keras", "keras_model.ckpt")
        if self.config.is_chief:
            tf.train.Checkpoint(
                dense=state, tables=tables_of(keras_model)
            ).write(start)
        self._names = names
        self._warm_start = WarmStartSettings(
            start,
            var_name_to_prev_var_name={
                name: f"dense/{number}{_ATTRIBUTE}"
                for number, name in enumerate(names)
            },
        )

    def restore_into(self, keras_model, checkpoint_path: str | None = None):
        """Restores a checkpoint of this Estimator into a Keras model.

        Args:
            keras_model: The model of the Estimator, or an equal one, compiled
                with the same optimizer.
            checkpoint_path: Checkpoint; None for the latest.
        """
        path = self._checkpoint(checkpoint_path)
        reader = tf.train.load_checkpoint(path)
        state = _dense_state(keras_model, keras_model.optimizer)
        for variable, name in zip(state, self._names, strict=True):
            variable.assign(reader.get_tensor(name))
        tables = tables_of(keras_model)
        if tables:
            by_name.restore_tables(tables, path)


class _Copy:
    """Rebuilds the model in a graph."""

    def __init__(self, keras_model, custom_objects):
        self._class = type(keras_model)
        self._config = keras_model.get_config()
        self._custom_objects = custom_objects
        self._loss = keras_model.loss
        self._metrics = keras_model.compiled_metrics._user_metrics or []
        self._optimizer = keras_model.optimizer
        self._optimizer_config = keras_model.optimizer.get_config()

    def names_of_state(self) -> list[str]:
        model = self._build()
        return [
            variable.op.name
            for variable in _dense_state(model, self._build_optimizer(model))
        ]

    def model_fn(self, features, labels, mode):
        model = self._build()
        # Made in every mode, so that all graphs have the same names.
        optimizer = self._build_optimizer(model)
        if mode == ModeKeys.TRAIN:
            loss = self._step(model, optimizer, features, labels)
            with tf.control_dependencies([loss]):
                train_op = v1.assign_add(v1.train.get_global_step(), 1)
            return EstimatorSpec(mode, loss=loss, train_op=train_op)
        outputs = model(features, training=False)
        predictions = {model.output_names[0]: outputs}
        if mode == ModeKeys.PREDICT:
            return EstimatorSpec(mode, predictions=predictions)
        return EstimatorSpec(
            mode,
            predictions=predictions,
            loss=self._loss_of(model, labels, outputs),
            eval_metric_ops=self._metric_ops(labels, outputs),
        )

    def _build(self):
        with tf_keras.utils.custom_object_scope(self._custom_objects or {}):
            return self._class.from_config(self._config)

    def _build_optimizer(self, model):
        optimizer = type(self._optimizer).from_config(self._optimizer_config)
        optimizer.build(model.trainable_variables)
        return optimizer

    def _step(self, model, optimizer, features, labels) -> tf.Tensor:
        # A function, because it orders operations that Keras does not return.
        @tf.function(autograph=False)
        def step(features, labels):
            with tf.GradientTape() as tape:
                outputs = model(features, training=True)
                loss = self._loss_of(model, labels, outputs)
            variables = model.trainable_variables
            gradients = tape.gradient(loss, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return loss

        return step(features, labels)

    def _loss_of(self, model, labels, outputs) -> tf.Tensor:
        loss = tf_keras.losses.get(self._loss)(_like(labels, outputs), outputs)
        loss = tf.reduce_mean(loss)
        return tf.add_n([loss, *model.losses]) if model.losses else loss

    def _metric_ops(self, labels, outputs) -> dict:
        graph = v1.get_default_graph()
        pairs = {}
        for metric in tf.nest.flatten(self._metrics):
            metric = _new_metric(metric, labels, outputs)
            update = metric.update_state(_like(labels, outputs), outputs)
            for variable in metric.variables:
                graph.add_to_collection(v1.GraphKeys.LOCAL_VARIABLES, variable)
            pairs[metric.name] = (metric.result(), update)
        return pairs


def _dense_state(model, optimizer) -> list:
    """Returns weights and optimizer variables in a fixed order."""
    optimizer.build(model.trainable_variables)
    optimizer_variables = optimizer.variables
    if callable(optimizer_variables):
        optimizer_variables = optimizer_variables()
    return [
        variable
        for variable in [*model.weights, *optimizer_variables]
        if not isinstance(variable, TableVariable)
    ]


def _like(labels, outputs) -> tf.Tensor:
    """Returns labels with the rank of the outputs, as in Keras."""
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 1 and outputs.shape.rank == 2:
        return labels[:, None]
    return labels


def _new_metric(metric, labels, outputs):
    """Returns a new metric in the current graph."""
    if isinstance(metric, tf_keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    if metric in ("accuracy", "acc"):
        if outputs.shape[-1] == 1:
            return tf_keras.metrics.BinaryAccuracy(metric)
        if labels.shape.rank == outputs.shape.rank:
            return tf_keras.metrics.CategoricalAccuracy(metric)
        return tf_keras.metrics.SparseCategoricalAccuracy(metric)
    found = tf_keras.metrics.get(metric)
    if isinstance(found, tf_keras.metrics.Metric):
        return found
    return tf_keras.metrics.MeanMetricWrapper(found, name=str(metric))
