"""The zero-row variable that represents a table in a model's weights.

A lookup is tied to it, so the gradient of the lookup is a value: a
`tf.IndexedSlices` of the ids and rows of the step. An optimizer made by
`mt.optimizers.with_tables` sends that value to the table. The variable holds no
data. Operations that treat it as a weight are rejected, with the fix.
"""

from __future__ import annotations

import weakref

import tensorflow as tf
from tensorflow.python.ops import resource_variable_ops

from monolith_tf.config.feature_overrides import NO_OVERRIDES
from monolith_tf.config.feature_overrides import FeatureOverrides
from monolith_tf.errors import MonolithError

_NO_VALUE = (
    "The rows of table {name!r} are not in a weight that can be read or set as "
    "an array (get_weights, set_weights, restore_best_weights, .h5 files). "
    "Keep them with model.save_weights(path) in TensorFlow's format, "
    "tf.train.Checkpoint or a .keras file; for the best epoch use "
    "tf_keras.callbacks.ModelCheckpoint(path, save_best_only=True, "
    "save_weights_only=True) and model.load_weights(path) afterwards. For "
    "single rows use mt.Table.lookup and mt.Table.assign."
)


_STRATEGIES_THAT_ASK = (
    tf.distribute.MirroredStrategy,
    tf.distribute.MultiWorkerMirroredStrategy,
)


def _name(table: str, overrides: FeatureOverrides) -> str:
    if overrides.min_count:
        table += f"_min_count_{overrides.min_count}"
    if overrides.probability:
        table += f"_probability_{overrides.probability:.4g}"
    if overrides.ttl_seconds:
        table += f"_ttl_{overrides.ttl_seconds}"
    return table


class TableVariable(resource_variable_ops.ResourceVariable):
    """Trainable float32 `[0, dim]`; see the module's docstring.

    Made by `mt.Table`. `overrides` are those of the features whose lookups are
    tied to the variable.
    """

    def __init__(
        self,
        table,
        device: str,
        strategy,
        overrides: FeatureOverrides = NO_OVERRIDES,
    ):
        """Makes the variable on a device, past all variable creators."""
        self._table = weakref.ref(table)
        self._table_name = table.name
        self.overrides = overrides
        with tf.init_scope(), tf.device(device):
            super().__init__(
                initial_value=tf.zeros([0, table.dim]),
                trainable=True,
                # In a graph: nothing reads it, so nothing initializes it.
                collections=[tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES],
                name=_name(table.name, overrides),
                distribute_strategy=strategy,
            )

    @property
    def table(self):
        """The `mt.Table` that the variable represents."""
        table = self._table()
        if table is None:
            raise MonolithError(
                f"Table {self._table_name!r} was deleted, but its variable is "
                "still in use. Keep the mt.Table or its layer alive."
            )
        return table

    def gradient_source(self) -> tf.Tensor:
        """Returns the input that ties a lookup to this variable.

        In a graph it is the handle, which nothing reads when the graph runs
        (ops/cc/kernels/detach_pass.cc). Eagerly an op that takes a handle on a
        parameter server runs on that server; then it is the value.
        """
        if self.table.table_set.strategy is not None and tf.executing_eagerly():
            return self.read_value()
        resource_variable_ops.variable_accessed(self)
        return self.handle

    def _distributed_container(self):
        # Keras optimizers read this before they update a variable; those of
        # with_tables never update one of a table. Strategies read it too.
        strategy = tf.distribute.get_strategy()
        if isinstance(strategy, _STRATEGIES_THAT_ASK):
            return self
        self._refuse_optimizer()

    @property
    def constraint(self):
        """Refuses: optimizers read it before they update a variable."""
        self._refuse_optimizer()

    def _refuse_optimizer(self):
        raise MonolithError(
            f"This optimizer can't update table {self._table_name!r}: its rows "
            "are not in a variable. Wrap the optimizer: "
            "model.compile(mt.optimizers.with_tables(optimizer), ...), or in a "
            "custom loop optimizer = "
            "mt.optimizers.with_tables(optimizer). It sends the gradients of "
            "rows to the tables and all others to your optimizer. With Keras 3 "
            "it is mt.keras3.with_tables(optimizer), and under the policy "
            "mixed_float16 mt.keras3.with_tables("
            "keras.optimizers.LossScaleOptimizer(optimizer))."
        )

    def numpy(self):
        """Refuses: there is no array to give."""
        raise MonolithError(_NO_VALUE.format(name=self._table_name))

    def _refuse_assignment(self, *args, **kwargs):
        del args, kwargs
        raise MonolithError(_NO_VALUE.format(name=self._table_name))

    assign = _refuse_assignment
    assign_add = _refuse_assignment
    assign_sub = _refuse_assignment
    scatter_add = _refuse_assignment
    scatter_sub = _refuse_assignment
    scatter_update = _refuse_assignment
