"""Checks of what the methods of `mt.Table` are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from monolith_tf.routed_gradients import is_gradient_of_lookup

if TYPE_CHECKING:
    from monolith_tf.table import Table


def vector_of_ids(name: str, ids) -> tf.Tensor:
    """Returns ids as int64 `[n]`.

    Args:
        name: Of the table, for messages.
        ids: What was passed.

    Raises:
        TypeError: They are not integers.
        ValueError: They are no vector (`tf.errors.InvalidArgumentError` when a
            function finds out as it runs).
    """
    ids = tf.convert_to_tensor(ids)
    if ids.shape.rank == 1 and ids.shape[0] == 0:
        ids = tf.zeros([0], tf.int64)
    if ids.dtype not in (tf.int64, tf.int32):
        raise TypeError(
            f"Table {name!r} needs int64 ids. Received: dtype "
            f"{ids.dtype.name}. Strings become ids by mt.ids.from_strings."
        )
    if ids.shape.rank is not None and ids.shape.rank != 1:
        raise ValueError(
            f"Table {name!r} needs a vector of ids, [n]. Received: shape "
            f"{tuple(ids.shape)}. Flatten them with tf.reshape(ids, [-1])."
        )
    if ids.shape.rank is None:
        ids = _checked(
            ids,
            tf.equal(tf.rank(ids), 1),
            f"Table {name!r} needs a vector of ids, [n]. Received shape:",
            tf.shape(ids),
        )
        ids.set_shape([None])
    return tf.cast(ids, tf.int64)


def rows_for(table: Table, what: str, rows, ids: tf.Tensor) -> tf.Tensor:
    """Returns rows as float32 `[n, dim]`, one for each of ids `[n]`.

    Args:
        table: The table.
        what: What they are, for messages.
        rows: What was passed.
        ids: int64 `[n]`.

    Raises:
        TypeError: They are not float32.
        ValueError: They have another shape (`tf.errors.InvalidArgumentError`
            when a function finds out as it runs).
    """
    rows = tf.convert_to_tensor(rows)
    if rows.dtype != tf.float32:
        raise TypeError(
            f"Table {table.name!r} needs float32 {what}. Received: dtype "
            f"{rows.dtype.name}."
        )
    message = f"Table {table.name!r} needs {what} of shape [n, {table.dim}] "
    expected = tf.TensorShape([ids.shape[0], table.dim])
    if not rows.shape.is_compatible_with(expected):
        raise ValueError(
            f"{message}for ids [n]. Received: {what} of shape "
            f"{tuple(rows.shape)} for ids of shape {tuple(ids.shape)}."
        )
    if rows.shape.is_fully_defined() and ids.shape.is_fully_defined():
        return rows
    if rows.shape[1:] == expected[1:] and is_gradient_of_lookup(rows, ids):
        # Checks would hide where they come from.
        return rows
    wanted = tf.stack([tf.size(ids), table.dim])
    rows = _checked(
        rows,
        tf.logical_and(
            tf.equal(tf.rank(rows), 2),
            tf.reduce_all(tf.equal(tf.shape(rows)[:2], wanted)),
        ),
        f"{message}for ids [n]. Received shapes, {what} and ids:",
        tf.shape(rows),
        tf.shape(ids),
    )
    rows.set_shape([None, table.dim])
    return rows


def _checked(tensor, condition, *message) -> tf.Tensor:
    """Returns the tensor, in a graph when the condition holds."""
    check = tf.debugging.Assert(condition, message)
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(tensor)
