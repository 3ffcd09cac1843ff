"""Optimizers: those of tables, and the wrapper that reaches the tables.

`SGD`, `Adagrad` and `Adam` are a table's own; `with_tables` makes a Keras
optimizer send the gradients of rows to the tables.
"""

from monolith_tf.optimizers.with_tables import sum_gradients
from monolith_tf.optimizers.with_tables import with_tables
from monolith_tf.row_optimizers import SGD
from monolith_tf.row_optimizers import Adagrad
from monolith_tf.row_optimizers import Adam
from monolith_tf.row_optimizers import RowOptimizer

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "RowOptimizer",
    "sum_gradients",
    "with_tables",
]
