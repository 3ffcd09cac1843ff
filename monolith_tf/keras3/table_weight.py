"""The zero-row variable of a table, as a weight of Keras 3."""

from __future__ import annotations

import weakref

import tensorflow as tf

from monolith_tf.errors import MonolithError
from monolith_tf.keras3.installed import keras
from monolith_tf.step.table_variable import TableVariable

_NO_VALUE = (
    "The rows of table {name!r} are not in a weight that can be read or set as "
    "an array (get_weights, set_weights, restore_best_weights, "
    "SwapEMAWeights). Keep them with model.save(path) to a .keras file or "
    "model.save_weights(path) to a .weights.h5 file; for the best epoch use "
    "mt.callbacks.EarlyStopping, or keras.callbacks.ModelCheckpoint(path, "
    "save_best_only=True) and model.load_weights(path) afterwards. For single "
    "rows use mt.Table.lookup and mt.Table.assign."
)

# By id of the table variable, which its weight keeps alive.
_weights: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


class TableWeight(keras.Variable):
    """Represents a table in the `trainable_weights` of a layer.

    A Keras variable around the table's `TableVariable`, so that its gradient is
    that of the lookups: a `tf.IndexedSlices`. Layers that read one table share
    one weight, and its `trainable` applies to all of them.

    Args:
        variable: The variable of the table.
    """

    def __init__(self, variable: TableVariable):
        """Wraps the variable; nothing is copied."""
        # First, because Keras reads attributes while it initializes.
        self._table_name = variable.table.name
        super().__init__(
            variable,
            dtype="float32",
            trainable=True,
            autocast=False,
            name=variable.name.partition(":")[0].replace("/", "_"),
        )
        if self.value is not variable:
            raise MonolithError(
                f"Keras {keras.__version__} made a copy of the variable of "
                f"table {self._table_name!r} where it has to keep it, so that "
                "the table would not be trained. This version of Keras is not "
                "supported."
            )

    @classmethod
    def of(cls, variable: TableVariable) -> TableWeight:
        """Returns the weight of a variable; there is one for each."""
        weight = _weights.get(id(variable))
        if weight is None:
            weight = _weights[id(variable)] = cls(variable)
        return weight

    def numpy(self):
        """Refuses: there is no array."""
        raise MonolithError(_NO_VALUE.format(name=self._table_name))

    def assign(self, value):
        """Refuses: there is no array to set."""
        raise MonolithError(_NO_VALUE.format(name=self._table_name))

    def __array__(self, dtype=None):
        """Refuses: there is no array to give."""
        raise MonolithError(_NO_VALUE.format(name=self._table_name))


def table_variable_of(variable) -> TableVariable | None:
    """Returns the table variable in a weight or variable, else None."""
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return variable if isinstance(variable, TableVariable) else None


def without_tables(variables) -> list[keras.Variable | tf.Variable]:
    """Returns the variables that do not represent a table."""
    return [v for v in variables if table_variable_of(v) is None]
