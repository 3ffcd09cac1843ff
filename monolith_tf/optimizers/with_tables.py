"""Makes a Keras optimizer send the gradients of rows to the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from monolith_tf.config.keras_version import is_keras_3
from monolith_tf.optimizers.extended_classes import extended_class
from monolith_tf.optimizers.extended_classes import optimizer_classes
from monolith_tf.optimizers.v1_with_tables import V1WithTables
from monolith_tf.step.apply import TableSlices
from monolith_tf.step.apply import apply_row_gradients
from monolith_tf.step.apply import check_names
from monolith_tf.step.apply import check_slices
from monolith_tf.step.table_variable import TableVariable

if TYPE_CHECKING:
    import tf_keras


def with_tables(optimizer) -> tf_keras.optimizers.Optimizer:
    """Makes an optimizer that trains tables and dense weights.

    The Keras optimizer updates the dense weights unchanged. The gradients of
    lookups go to the tables, each of which makes one step of its own optimizer
    for every distinct id. Clipping (`clipnorm`, `clipvalue`, `global_clipnorm`)
    and loss scaling act on both, before the split. As for a Keras Embedding,
    they act on the slices of a batch before equal ids are summed.

    Args:
        optimizer: A tf_keras optimizer or its name, such as "adam"; of a
            `LossScaleOptimizer` the inner one is wrapped. It must be new: its
            slots are not taken over. Or an optimizer of `tf.compat.v1.train`,
            for graphs and Estimators.

    Returns:
        An optimizer of a class that extends the one given; for one of
        `tf.compat.v1.train`, one that delegates to it.

    Raises:
        TypeError: It is not a tf_keras or tf.compat.v1.train optimizer.

    Example:
    >>> import monolith_tf as mt
    >>> optimizer = mt.optimizers.with_tables("adam")
    >>> type(optimizer).__name__
    'AdamWithTables'
    """
    import tf_keras

    if isinstance(optimizer, str):
        optimizer = tf_keras.optimizers.get(optimizer)
    if isinstance(optimizer, tf_keras.mixed_precision.LossScaleOptimizer):
        if isinstance(optimizer.inner_optimizer, _WithTables):
            return optimizer
        config = optimizer.get_config()
        return tf_keras.mixed_precision.LossScaleOptimizer(
            with_tables(optimizer.inner_optimizer),
            dynamic=config["dynamic"],
            initial_scale=config["initial_scale"],
            dynamic_growth_steps=config["dynamic_growth_steps"],
        )
    if isinstance(optimizer, (_WithTables, V1WithTables)):
        return optimizer
    if isinstance(optimizer, tf.compat.v1.train.Optimizer):
        return V1WithTables(optimizer)
    if isinstance(optimizer, tf_keras.optimizers.legacy.Optimizer):
        raise TypeError(
            "with_tables takes the optimizers of tf_keras.optimizers, not "
            f"those of tf_keras.optimizers.legacy. Received: {optimizer!r}. "
            f"Use tf_keras.optimizers.{type(optimizer).__name__}."
        )
    if is_keras_3(optimizer):
        raise TypeError(
            "mt.optimizers.with_tables takes a tf_keras optimizer. Received "
            f"one of Keras 3: {optimizer!r}. In a Keras 3 model use "
            "mt.keras3.with_tables and the layers of mt.keras3; else import "
            "tf_keras, or set TF_USE_LEGACY_KERAS=1, which makes tf.keras the "
            "same."
        )
    if not isinstance(optimizer, tf_keras.optimizers.Optimizer):
        raise TypeError(
            "with_tables takes a tf_keras optimizer or its name. Received: "
            f"{optimizer!r} (of type {type(optimizer).__module__}."
            f"{type(optimizer).__name__})."
        )
    return _class_with_tables(type(optimizer)).from_config(
        optimizer.get_config()
    )


def sum_gradients(gradients: Sequence):
    """Sums gradients of one variable over several batches.

    Accumulates gradients in a custom loop. The gradients of a table are slices,
    which are concatenated, not added as arrays.

    Args:
        gradients: Gradients of one variable, one per batch: `tf.IndexedSlices`,
            tensors, or None for batches that did not use it.

    Returns:
        A gradient of the same kind, or None if all are None.

    Example:
    >>> first = tf.IndexedSlices([[1.0]], tf.constant([7], tf.int64))
    >>> second = tf.IndexedSlices([[2.0]], tf.constant([8], tf.int64))
    >>> sum_gradients([first, second]).indices.numpy()
    array([7, 8])
    """
    gradients = [gradient for gradient in gradients if gradient is not None]
    if not gradients:
        return None
    if all(isinstance(gradient, tf.IndexedSlices) for gradient in gradients):
        return tf.IndexedSlices(
            tf.concat([gradient.values for gradient in gradients], axis=0),
            tf.concat([gradient.indices for gradient in gradients], axis=0),
            gradients[0].dense_shape,
        )
    return tf.add_n([tf.convert_to_tensor(gradient) for gradient in gradients])


class _WithTables:
    """Mixed into a Keras optimizer class, before it."""

    def build(self, var_list):
        """Makes slots for the dense variables only."""
        super().build(_dense(var_list))

    def finalize_variable_values(self, var_list):
        """Puts averages (`use_ema`) in place of the dense variables only."""
        super().finalize_variable_values(_dense(var_list))

    @tf.autograph.experimental.do_not_convert
    def apply_gradients(self, grads_and_vars, *args, **kwargs):
        """Updates tables and dense variables from clipped gradients."""
        grads_and_vars = list(grads_and_vars)
        present = [pair for pair in grads_and_vars if pair[0] is not None]
        if not any(isinstance(v, TableVariable) for _, v in present):
            return super().apply_gradients(
                [
                    pair
                    for pair in grads_and_vars
                    if not isinstance(pair[1], TableVariable)
                ],
                *args,
                **kwargs,
            )
        if tf.distribute.has_strategy():
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            if replicas > 1:
                raise ValueError(
                    f"Tables can't be trained by {replicas} replicas at once. "
                    "Use tf.distribute.ParameterServerStrategy, or one replica."
                )
        for gradient, variable in present:
            if isinstance(variable, TableVariable):
                check_slices(gradient, variable)
        parts = TableSlices.group(present)
        check_names([p.table for p in parts if isinstance(p, TableSlices)])
        clipped = self._clip_once(
            [
                part.together() if isinstance(part, TableSlices) else part[0]
                for part in parts
            ]
        )
        dense, tables, slices, overrides = [], [], [], []
        for gradient, part in zip(clipped, parts, strict=True):
            if isinstance(part, TableSlices):
                tables.append(part.table)
                slices.append(gradient)
                overrides.append(part.overrides())
            else:
                dense.append((gradient, part[1]))
        with tf.init_scope():
            # All variables: one without a gradient in this step may have one
            # in the next, and Keras makes slots once.
            self.build([variable for _, variable in grads_and_vars])
        applied = apply_row_gradients(
            tables,
            slices,
            overrides=overrides,
            step=self.iterations.read_value(),
        )
        with tf.control_dependencies(applied):
            if dense:
                return self._apply_clipped(dense, *args, **kwargs)
            return self.iterations.assign_add(1)

    def _clip_once(self, gradients):
        """Clips dense gradients and rows together, as Keras would."""
        return super()._clip_gradients(gradients)

    def _apply_clipped(self, grads_and_vars, *args, **kwargs):
        self._is_clipped = True
        try:
            return super().apply_gradients(grads_and_vars, *args, **kwargs)
        finally:
            self._is_clipped = False

    def _clip_gradients(self, grads):
        """Keras calls it inside `apply_gradients`: once is enough."""
        if getattr(self, "_is_clipped", False):
            return grads
        return super()._clip_gradients(grads)


def _dense(variables) -> list:
    return [v for v in variables if not isinstance(v, TableVariable)]


def _class_with_tables(base: type) -> type:
    import tf_keras

    return extended_class(base, _WithTables, tf_keras.saving)


def register_optimizers() -> None:
    """Registers the classes of `with_tables` for all optimizers of tf_keras.

    Models that were saved with one of them load in a new process.
    """
    import tf_keras

    for base in optimizer_classes(tf_keras.optimizers):
        _class_with_tables(base)
