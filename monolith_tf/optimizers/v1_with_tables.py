"""Makes a tf.compat.v1 optimizer send the gradients of rows to the tables."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.step.apply import TableSlices
from monolith_tf.step.apply import apply_row_gradients
from monolith_tf.step.table_variable import TableVariable


class V1WithTables(tf.compat.v1.train.Optimizer):
    """A `tf.compat.v1.train` optimizer that trains tables and dense weights.

    Made by `mt.optimizers.with_tables`. Gradients of lookups go to the tables,
    all others to the wrapped optimizer. Bias correction and schedules of rows
    use `global_step`, or the global step of the graph, which is created if
    there is none.

    Args:
        optimizer: A `tf.compat.v1.train.Optimizer`.
    """

    def __init__(self, optimizer: tf.compat.v1.train.Optimizer):
        """Keeps the optimizer."""
        if isinstance(optimizer, tf.compat.v1.train.SyncReplicasOptimizer):
            raise TypeError(
                "with_tables can't wrap a SyncReplicasOptimizer: it adds up "
                "gradients as dense arrays, and rows have none. Train "
                "asynchronously with the optimizer inside it. Received: "
                f"{optimizer!r}."
            )
        super().__init__(
            use_locking=optimizer._use_locking, name=optimizer.get_name()
        )
        self._optimizer = optimizer

    def compute_gradients(self, *args, **kwargs):
        """Computes gradients; those of rows are slices."""
        return self._optimizer.compute_gradients(*args, **kwargs)

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        """Updates tables and dense variables.

        Args:
            grads_and_vars: Pairs, as `compute_gradients` returns them.
            global_step: The variable to increment afterwards, or None.
            name: Name of the operation that is returned.

        Returns:
            The operation that runs all updates.
        """
        pairs = [pair for pair in grads_and_vars if pair[0] is not None]
        if not any(isinstance(v, TableVariable) for _, v in pairs):
            return self._optimizer.apply_gradients(
                [
                    pair
                    for pair in grads_and_vars
                    if not isinstance(pair[1], TableVariable)
                ],
                global_step=global_step,
                name=name,
            )
        for gradient, variable in pairs:
            if isinstance(variable, TableVariable) and not isinstance(
                gradient, tf.IndexedSlices
            ):
                raise TypeError(
                    f"The gradient of table {variable.table.name!r} must be a "
                    "tf.IndexedSlices, as compute_gradients gives it. "
                    f"Received: {gradient!r}."
                )
        tables, slices, overrides, dense = [], [], [], []
        for part in TableSlices.group(pairs):
            if isinstance(part, TableSlices):
                tables.append(part.table)
                slices.append(part.together())
                overrides.append(part.overrides())
            else:
                dense.append(part)
        count = global_step
        if count is None:
            count = tf.compat.v1.train.get_or_create_global_step()
        # Read before the increment: the rows are stepped first.
        step = tf.identity(tf.convert_to_tensor(count))
        applied = apply_row_gradients(
            tables, slices, overrides=overrides, step=step
        )
        with tf.control_dependencies(applied):
            if dense:
                return self._optimizer.apply_gradients(
                    dense, global_step=global_step, name=name
                )
            if global_step is None:
                return tf.group(*applied, name=name)
            return tf.compat.v1.assign_add(
                global_step, tf.ones([], global_step.dtype), name=name
            )

    def get_slot(self, var, name):
        """Returns a slot of a dense variable."""
        return self._optimizer.get_slot(var, name)

    def get_slot_names(self):
        """Returns the names of the slots of dense variables."""
        return self._optimizer.get_slot_names()

    def variables(self):
        """Returns the optimizer's variables, without the slots of rows."""
        return self._optimizer.variables()
