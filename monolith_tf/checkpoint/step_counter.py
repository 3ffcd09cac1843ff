"""Counts of `Table.apply_gradients` calls, saved together with the rows.

A call without `step` takes the count of its table as the global step. In a
TensorFlow 1 graph a table has one such variable per server; the first counts,
the others only say that their server has the table (`tf1_graph.py`).
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import tensorflow as tf
from tensorflow.python.ops import resource_variable_ops

from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.placement.table_set import servers_of

_variables: weakref.WeakKeyDictionary[TableHandle, tuple[tf.Variable, ...]] = (
    weakref.WeakKeyDictionary()
)


def make_step_counter(table: TableHandle) -> None:
    """Makes the counter of a table outside of a graph.

    The variable is made past all variable creators: a strategy would place it
    elsewhere, and Keras would track it.
    """
    device, _ = servers_of(table.table_set)[0]
    with tf.init_scope(), tf.device(device):
        counter = resource_variable_ops.ResourceVariable(
            tf.constant(0, tf.int64), trainable=False, name="step"
        )
    keep_step_counter(table, [counter])


def keep_step_counter(
    table: TableHandle, variables: Sequence[tf.Variable]
) -> None:
    """Registers the counter of a table.

    Args:
        table: The table.
        variables: int64 scalars: the counter, and in a graph those of the
            other servers.
    """
    _variables[table] = tuple(variables)


def step_counter(table: TableHandle) -> tf.Variable:
    """Returns the counter of a table, an int64 scalar."""
    return _variables[table][0]


def other_ready_variables(table: TableHandle) -> tuple[tf.Variable, ...]:
    """Returns the variables of the other servers; empty outside of a graph."""
    return _variables[table][1:]
