"""Table learning rates that follow the Keras optimizer."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from monolith_tf.config.keras_version import is_keras_3
from monolith_tf.placement.registry import tables_of


class TableLearningRate(tf_keras.callbacks.Callback):
    """Sets the learning rates of tables to that of the Keras optimizer.

    With it `LearningRateScheduler` and `ReduceLROnPlateau` apply to rows. The
    rate of each table must be a `tf.Variable`, which every step reads; under
    `ParameterServerStrategy` create it in the scope. It is set at the beginning
    of an epoch: put this callback after the scheduling one.

    Args:
        factor: Factor from the optimizer's rate to that of the tables.
        tables: Names of the tables. Default: all tables of the model whose rate
            is a variable.

    Raises:
        ValueError: `fit` raises it if a named table is not in the model, or if
            no table has a variable as its rate.

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
        """Keeps the arguments; `fit` checks them."""
        super().__init__()
        self._factor = factor
        self._names = tables

    def on_train_begin(self, logs=None):
        """Rejects a model without a variable rate."""
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
                    f"TableLearningRate needs tables of the model: "
                    f"{sorted(tables)}. Received: {name!r}."
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
    """Returns the learning rate of a Keras optimizer's next step."""
    rate = optimizer.learning_rate
    if not is_keras_3(optimizer):
        # With a schedule the property has the rate of the previous step.
        rate = getattr(optimizer, "_learning_rate", rate)
    if isinstance(rate, tf_keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(optimizer.iterations)
    return float(rate)


def _no_variable(what: str) -> str:
    return (
        "TableLearningRate needs a tf.Variable as learning rate, such as "
        "mt.optimizers.Adagrad(tf.Variable(0.1)). Received: a number or a "
        f"schedule for {what}."
    )
