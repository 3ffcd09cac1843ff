"""Makes a Keras 3 optimizer send the gradients of rows to the tables."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from monolith_tf.keras3.installed import keras
from monolith_tf.keras3.table_weight import table_variable_of
from monolith_tf.keras3.table_weight import without_tables
from monolith_tf.optimizers.extended_classes import extended_class
from monolith_tf.optimizers.extended_classes import optimizer_classes
from monolith_tf.step.apply import TableSlices
from monolith_tf.step.apply import apply_row_gradients
from monolith_tf.step.apply import check_names
from monolith_tf.step.apply import check_slices

_LossScaleOptimizer = keras.optimizers.LossScaleOptimizer


def with_tables(optimizer) -> keras.optimizers.Optimizer:
    """Makes a Keras 3 optimizer that trains tables and dense weights.

    The twin of `mt.optimizers.with_tables`. The Keras optimizer updates the
    dense weights unchanged. The gradients of lookups go to the tables, each of
    which makes one step of its own optimizer for every distinct id. Clipping
    (`clipnorm`, `clipvalue`, `global_clipnorm`) and loss scaling act on both,
    before the split. `weight_decay` and `use_ema` act on the dense weights.

    Under the policy "mixed_float16" Keras wraps the optimizer of `compile` once
    more, which is refused. Wrap it before: `with_tables(
    keras.optimizers.LossScaleOptimizer(optimizer))`.

    Args:
        optimizer: A `keras.optimizers.Optimizer` or its name, such as "adam";
            of a `LossScaleOptimizer` the inner one is wrapped too. It must be
            new.

    Returns:
        An optimizer of a class that extends the one given.

    Raises:
        TypeError: It is not a Keras 3 optimizer.
        ValueError: It was used already, or it accumulates gradients
            (`gradient_accumulation_steps`), which Keras does in dense arrays.

    Example:
    >>> import monolith_tf as mt
    >>> type(mt.keras3.with_tables("adam")).__name__
    'AdamWithTables'
    """
    if isinstance(optimizer, str):
        optimizer = keras.optimizers.get(optimizer)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            "mt.keras3.with_tables takes an optimizer of Keras 3 or its name. "
            f"Received: {optimizer!r} (of type {type(optimizer).__module__}."
            f"{type(optimizer).__name__}). For tf_keras and "
            "tf.compat.v1.train use mt.optimizers.with_tables."
        )
    if isinstance(optimizer, (_WithTables, _LossScaleWithTables)):
        return optimizer
    if optimizer.built:
        raise ValueError(
            "mt.keras3.with_tables takes a new optimizer. Received: "
            f"{optimizer!r}, which was used already; its slots would be lost."
        )
    if isinstance(optimizer, _LossScaleOptimizer):
        return _class_with_tables(type(optimizer))(
            with_tables(optimizer.inner_optimizer),
            initial_scale=optimizer.initial_scale,
            dynamic_growth_steps=optimizer.dynamic_growth_steps,
            name=optimizer.name,
        )
    config = optimizer.get_config()
    _check_accumulation(config.get("gradient_accumulation_steps"))
    return _class_with_tables(type(optimizer)).from_config(config)


class _KnowsTables:
    """Keeps the variables of tables apart, for both kinds of optimizers."""

    def build(self, variables):
        """Makes slots for the dense variables only."""
        # Past Keras, which would track them as its own variables.
        self.__dict__["_variables_with_tables"] = list(variables)
        super().build(without_tables(variables))

    def _matched(self, grads, variables) -> list[tuple]:
        """Returns pairs of a gradient and its variable."""
        grads = list(grads)
        if variables is None:
            variables = self.__dict__.get("_variables_with_tables")
            if variables is None:
                raise ValueError(
                    "apply needs the variables of the gradients, or an "
                    "optimizer that was built for them: "
                    "optimizer.build(model.trainable_variables). Received: "
                    f"{len(grads)} gradients and no variables."
                )
        variables = list(variables)
        if len(grads) != len(variables):
            raise ValueError(
                "apply needs one gradient for each variable. Received: "
                f"{len(grads)} gradients for {len(variables)} variables."
            )
        return list(zip(grads, variables, strict=True))


class _WithTables(_KnowsTables):
    """Mixed into a Keras optimizer class, before it."""

    def finalize_variable_values(self, var_list):
        """Puts averages (`use_ema`) in place of the dense variables only."""
        super().finalize_variable_values(without_tables(var_list))

    @tf.autograph.experimental.do_not_convert
    def apply(self, grads, trainable_variables=None):
        """Updates tables and dense variables from clipped gradients."""
        pairs = self._matched(grads, trainable_variables)
        if not self.built:
            # All variables: one without a gradient in this step may have one in
            # the next, and Keras makes slots once.
            with keras.name_scope(self.name):
                self.build([variable for _, variable in pairs])
        dense = [pair for pair in pairs if table_variable_of(pair[1]) is None]
        rows = [
            (gradient, table_variable_of(variable))
            for gradient, variable in pairs
            if gradient is not None and table_variable_of(variable) is not None
        ]
        if not rows:
            if not dense:
                raise ValueError("No gradients provided for any variable.")
            super().apply(*zip(*dense, strict=True))
            return
        _refuse_strategies()
        for gradient, variable in rows:
            check_slices(gradient, variable)
        parts = TableSlices.group(rows)
        check_names([part.table for part in parts])
        clipped = self._clipped_once(
            [part.together() for part in parts]
            + [gradient for gradient, _ in dense]
        )
        applied = apply_row_gradients(
            [part.table for part in parts],
            clipped[: len(parts)],
            overrides=[part.overrides() for part in parts],
            step=tf.identity(tf.convert_to_tensor(self.iterations)),
        )
        clipped = clipped[len(parts) :]
        with tf.control_dependencies(applied):
            if any(gradient is not None for gradient in clipped):
                with self._clipping_nothing():
                    super().apply(clipped, [variable for _, variable in dense])
            else:
                self.iterations.assign_add(1)

    def _clipped_once(self, gradients) -> list:
        """Unscales and clips rows and dense gradients together."""
        scale = self.loss_scale_factor
        if scale is not None:
            gradients = [_divided(gradient, scale) for gradient in gradients]
        return self._clipped(gradients)

    def _clipped(self, gradients: list) -> list:
        """Clips dense gradients and slices together, as Keras clips.

        Keras' own ops make slices dense, and rows have no dense array. As for a
        `keras.layers.Embedding`, slices count before equal ids are summed.
        """
        if self.clipnorm and self.clipnorm > 0:
            return _each(gradients, tf.clip_by_norm, self.clipnorm)
        if self.global_clipnorm and self.global_clipnorm > 0:
            return tf.clip_by_global_norm(gradients, self.global_clipnorm)[0]
        if self.clipvalue and self.clipvalue > 0:
            return _each(
                gradients, tf.clip_by_value, -self.clipvalue, self.clipvalue
            )
        return gradients

    @contextlib.contextmanager
    def _clipping_nothing(self):
        """Turns off unscaling and clipping, which were done before."""
        kept = {
            name: getattr(self, name)
            for name in (
                "clipnorm",
                "global_clipnorm",
                "clipvalue",
                "loss_scale_factor",
            )
        }
        try:
            for name in kept:
                setattr(self, name, None)
            yield
        finally:
            for name, value in kept.items():
                setattr(self, name, value)

    @classmethod
    def from_config(cls, config, **kwargs):
        """Makes the optimizer that `get_config` described."""
        _check_accumulation(config.get("gradient_accumulation_steps"))
        return super().from_config(config, **kwargs)


class _LossScaleWithTables(_KnowsTables):
    """Mixed into the class `LossScaleOptimizer`, before it."""

    @tf.autograph.experimental.do_not_convert
    def apply(self, grads, trainable_variables=None):
        """Unscales all gradients, and leaves the rest to the inner one."""
        pairs = self._matched(grads, trainable_variables)
        if pairs:
            super().apply(*zip(*pairs, strict=True))

    def check_finite(self, grads):
        """Returns a bool scalar: True if all gradients are finite."""
        return super().check_finite(
            [
                gradient.values
                if isinstance(gradient, tf.IndexedSlices)
                else gradient
                for gradient in grads
            ]
        )


def _each(gradients: list, change, *limits) -> list:
    return [None if g is None else change(g, *limits) for g in gradients]


def _divided(gradient, scale: float):
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(
            gradient.values / scale, gradient.indices, gradient.dense_shape
        )
    return None if gradient is None else gradient / scale


def _check_accumulation(steps) -> None:
    if not steps:
        return
    raise ValueError(
        "mt.keras3.with_tables can't accumulate gradients: Keras adds them up "
        "in dense arrays, and rows have none. Received: "
        f"gradient_accumulation_steps={steps}. Use larger batches, or add them "
        "up in a custom train_step by mt.optimizers.sum_gradients."
    )


def _refuse_strategies() -> None:
    if tf.distribute.has_strategy():
        raise ValueError(
            "Tables are trained with Keras 3 in one process only, not under "
            f"{type(tf.distribute.get_strategy()).__name__}. Under a "
            "tf.distribute strategy build the model with tf_keras, mt.layers "
            "and mt.optimizers.with_tables."
        )


def _class_with_tables(base: type) -> type:
    is_loss_scale = issubclass(base, _LossScaleOptimizer)
    mixin = _LossScaleWithTables if is_loss_scale else _WithTables
    return extended_class(base, mixin, keras.saving)


# Registered at import, so that a saved optimizer loads in a new process.
for _base in optimizer_classes(keras.optimizers):
    _class_with_tables(_base)
