"""Optimizers of tables, and the wrapper that sends gradients to tables.

A table has its own optimizer: `SGD`, `Adagrad`, `Adam` and others. The wrapper
`with_tables` makes a Keras optimizer send the gradients of rows to the tables.
Imports `feature` and below. Start with `with_tables.py`.
"""

from monolith_tf.config.row_optimizers import SGD
from monolith_tf.config.row_optimizers import Adadelta
from monolith_tf.config.row_optimizers import Adagrad
from monolith_tf.config.row_optimizers import Adam
from monolith_tf.config.row_optimizers import AdamW
from monolith_tf.config.row_optimizers import BatchSoftmax
from monolith_tf.config.row_optimizers import DelayCompensatedAdagrad
from monolith_tf.config.row_optimizers import DelayCompensatedSGD
from monolith_tf.config.row_optimizers import Ftrl
from monolith_tf.config.row_optimizers import GroupAdagrad
from monolith_tf.config.row_optimizers import GroupFtrl
from monolith_tf.config.row_optimizers import MovingAverage
from monolith_tf.config.row_optimizers import RMSprop
from monolith_tf.config.row_optimizers import RowOptimizer
from monolith_tf.config.row_optimizers import RowWiseAdagrad
from monolith_tf.optimizers.with_tables import sum_gradients
from monolith_tf.optimizers.with_tables import with_tables

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "BatchSoftmax",
    "DelayCompensatedAdagrad",
    "DelayCompensatedSGD",
    "Ftrl",
    "GroupAdagrad",
    "GroupFtrl",
    "MovingAverage",
    "RMSprop",
    "RowOptimizer",
    "RowWiseAdagrad",
    "sum_gradients",
    "with_tables",
]
