"""Ties the learning rates of tables to that of the Keras optimizer."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from monolith_tf.config.keras_version import is_keras_3
from monolith_tf.placement.registry import tables_of


class TableLearningRate(tf_keras.callbacks.Callback):
    """Gives tables the Keras optimizer's learning rate, times a factor.

    So `LearningRateScheduler` and `ReduceLROnPlateau` reach the rows. The rate
    of each table to tie is a `tf.Variable`, which every step reads; under
    `ParameterServerStrategy` make it in the scope. It is set when an epoch
    begins: put this callback behind the one that schedules.

    Args:
        factor: What the optimizer's rate is multiplied by.
        tables: Names of the tables, default all of the model whose rate is a
            variable.

    Raises:
        ValueError: By `fit`: a named table is not in the model, or there is no
            table whose rate is a variable.

    Example:
    >>> import monolith_tf as mt
    >>> import tf_keras
    >>> rate = tf.Variable(0.0)
    >>> config = mt.TableConfig("movie", 2, optimizer=mt.optimizers.SGD(rate))
    >>> model = tf_keras.Sequential([mt.layers.DynamicEmbedding(config)])
    >>> model.compile(mt.optimizers.with_tables("sgd"), "mse")
    >>> _ = model.fit(tf.constant([7], tf.int64), tf.zeros([1, 2]), verbose=0,
    ...               callbacks=[
    ...                   tf_keras.callbacks.LearningRateScheduler(
    ...                       lambda epoch: 0.5),
    ...                   mt.callbacks.TableLearningRate(factor=4.0)])
    >>> float(rate)
    2.0
    """

    def __init__(self, factor: float = 1.0, tables: list[str] | None = None):
        """Looks at nothing yet; `fit` does."""
        super().__init__()
        self._factor = factor
        self._names = tables

    def on_train_begin(self, logs=None):
        """Refuses a model that has nothing to tie."""
        self._variables()

    def on_epoch_begin(self, epoch, logs=None):
        """Sets the rates."""
        rate = _rate_of(self.model.optimizer)
        for variable in self._variables():
            variable.assign(tf.cast(self._factor * rate, variable.dtype))

    def _variables(self) -> list[tf.Variable]:
        tables = {table.name: table for table in tables_of(self.model)}
        for name in self._names or ():
            if name not in tables:
                raise ValueError(
                    f"TableLearningRate: the model has no table {name!r}; it "
                    f"has {sorted(tables)}."
                )
        found = {}
        for name in self._names or tables:
            rates = [
                segment.optimizer.learning_rate
                for segment in tables[name].config.segments
                if isinstance(
                    getattr(segment.optimizer, "learning_rate", None),
                    tf.Variable,
                )
            ]
            if self._names and not rates:
                raise ValueError(_no_variable(f"table {name!r}"))
            found.update({id(rate): rate for rate in rates})
        if not found:
            raise ValueError(_no_variable("every table of the model"))
        return list(found.values())


def _rate_of(optimizer) -> float:
    """The learning rate of the coming step of a Keras optimizer."""
    rate = optimizer.learning_rate
    if not is_keras_3(optimizer):
        # Of a schedule the property has the rate of the step before.
        rate = getattr(optimizer, "_learning_rate", rate)
    if isinstance(rate, tf_keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(optimizer.iterations)
    return float(rate)


def _no_variable(what: str) -> str:
    return (
        f"TableLearningRate: the learning rate of {what} is a number or a "
        "schedule; expected a tf.Variable, such as "
        "mt.optimizers.Adagrad(tf.Variable(0.1))."
    )
