"""Checks of the arguments of `mt.Table` methods."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.step.fused_gradients import is_gradient_of_lookup


def vector_of_ids(name: str, ids) -> tf.Tensor:
    """Returns ids as int64 `[n]`.

    Args:
        name: Name of the table, for messages.
        ids: The value that was passed.

    Raises:
        TypeError: They are not integers.
        ValueError: They are not a vector (`tf.errors.InvalidArgumentError` if
            only the run of a function can tell).
    """
    if isinstance(ids, (tf.RaggedTensor, tf.SparseTensor)):
        flat = "flat_values" if isinstance(ids, tf.RaggedTensor) else "values"
        raise TypeError(
            f"Table {name!r} needs a vector of ids, [n]. Received: a "
            f"{type(ids).__name__} of shape {tuple(ids.shape)}. Pass "
            f"ids.{flat}, or read it by a feature of "
            "mt.layers.EmbeddingCollection, which combines the rows of each "
            "example."
        )
    ids = _tensor(
        f"Table {name!r} needs a vector of ids, [n]", ids, "one flat list"
    )
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


def rows_for(table: TableHandle, what: str, rows, ids: tf.Tensor) -> tf.Tensor:
    """Returns rows as float32 `[n, dim]`, one for each of ids `[n]`.

    Floats of another size are cast, as those of a NumPy array usually are.

    Args:
        table: The table.
        what: Name of the argument, for messages.
        rows: The value that was passed.
        ids: int64 `[n]`.

    Raises:
        TypeError: They are not floats.
        ValueError: They have another shape (`tf.errors.InvalidArgumentError`
            if only the run of a function can tell).
    """
    message = f"Table {table.name!r} needs {what} of shape [n, {table.dim}] "
    rows = _tensor(
        f"{message}for ids [n]", rows, "lists of equal length or an array"
    )
    if not rows.dtype.is_floating:
        raise TypeError(
            f"Table {table.name!r} needs float32 {what}, or other floats, "
            f"which are cast. Received: dtype {rows.dtype.name}. Cast them "
            "with tf.cast(values, tf.float32)."
        )
    rows = tf.cast(rows, tf.float32)
    expected = tf.TensorShape([ids.shape[0], table.dim])
    if not rows.shape.is_compatible_with(expected):
        raise ValueError(
            f"{message}for ids [n]. Received: {what} of shape "
            f"{tuple(rows.shape)} for ids of shape {tuple(ids.shape)}."
        )
    if rows.shape.is_fully_defined() and ids.shape.is_fully_defined():
        return rows
    if rows.shape[1:] == expected[1:] and is_gradient_of_lookup(rows, ids):
        # Checks would hide their source.
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


def rate_for(name: str, learning_rate) -> tf.Tensor:
    """Returns the learning rate of a call as float32 scalar.

    Args:
        name: Name of the table, for messages.
        learning_rate: The value that was passed.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not a scalar.
    """
    expected = f"Table {name!r} needs one number for learning_rate"
    rate = _tensor(expected, learning_rate, "a scalar")
    if not (rate.dtype.is_floating or rate.dtype.is_integer):
        raise TypeError(
            f"{expected}, or a scalar tensor. Received: {learning_rate!r} (of "
            f"dtype {rate.dtype.name})."
        )
    if rate.shape.rank not in (None, 0):
        raise ValueError(
            f"{expected}, for all segments. Received: {learning_rate!r} (of "
            f"shape {tuple(rate.shape)}). Pass a scalar; for rates that "
            "differ, leave it out and give each mt.Segment an optimizer with "
            "its own."
        )
    return tf.cast(rate, tf.float32)


def _tensor(expected: str, given, instead: str) -> tf.Tensor:
    """Converts a value to a tensor, or raises."""
    try:
        return tf.convert_to_tensor(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"{expected}. Received: {given!r} (of type "
            f"{type(given).__name__}), which TensorFlow can't convert: "
            f"{error} Pass {instead}."
        ) from error


def _checked(tensor, condition, *message) -> tf.Tensor:
    """Returns the tensor; asserts the condition when it runs in a graph."""
    check = tf.debugging.Assert(condition, message)
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(tensor)
