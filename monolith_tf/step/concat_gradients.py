"""Finds that a gradient is some columns of the gradient of a concatenation.

The vectors of many features are mostly concatenated. TensorFlow then splits the
gradient, which copies all of it; who can read columns needs no copy.
"""

from __future__ import annotations

import tensorflow as tf

from monolith_tf import ops


def columns_of(gradient: tf.Tensor) -> ops.Columns | None:
    """Looks for the concatenation that a gradient was split from.

    Args:
        gradient: Symbolic tensor `[..., n]`.

    Returns:
        Which columns of which tensor `[..., m]` it is, m >= n; None unless it
        is as TensorFlow makes it for a concatenation on the last axis of
        tensors whose last dimensions are known.
    """
    kind = gradient.op.type
    if kind == "SplitV":
        whole, sizes, axis = gradient.op.inputs
        number, shapes = gradient.value_index, _shapes_of_sizes(sizes, axis)
    elif kind == "Slice":
        whole, begin, size = gradient.op.inputs
        if begin.op.type != "ConcatOffset":
            return None
        axis, *shapes = begin.op.inputs
        number = begin.value_index
        if shapes[number].name != size.name:
            return None
    else:
        return None
    if whole.shape.rank is None or _axis(axis) != whole.shape.rank - 1:
        return None
    widths = [_last_dimension(shape) for shape in shapes[: number + 1]]
    if not widths or None in widths:
        return None
    return ops.Columns(whole, sum(widths[:-1]))


def _shapes_of_sizes(sizes: tf.Tensor, axis: tf.Tensor) -> list[tf.Tensor]:
    """The shapes that the sizes of a split were taken from on its axis."""
    taken = sizes.op
    if taken.type != "Squeeze" or taken.inputs[0].op.type != "Slice":
        return []
    table, begin, _ = taken.inputs[0].op.inputs
    if (table.op.type, begin.op.type) != ("Pack", "Pack"):
        return []
    if table.op.get_attr("axis") != 1 or begin.op.inputs[0].name != axis.name:
        return []
    return list(table.op.inputs)


def _axis(axis: tf.Tensor) -> int | None:
    if axis.op.type != "FloorMod":
        return tf.get_static_value(axis)
    number, rank = (tf.get_static_value(value) for value in axis.op.inputs)
    return None if number is None or rank is None else number % rank


def _last_dimension(shape: tf.Tensor) -> int | None:
    """What a shape that TensorFlow computes says of the last dimension."""
    if shape.op.type in ("Shape", "ShapeN"):
        known = shape.op.inputs[shape.value_index].shape
        return known[-1] if known.rank else None
    value = tf.get_static_value(shape)
    return None if value is None else int(value[-1])
