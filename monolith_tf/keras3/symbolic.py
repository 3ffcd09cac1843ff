"""Outputs of a layer for symbolic inputs of Keras 3."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from monolith_tf.keras3.installed import keras


def traced(call: Callable, *values):
    """Calls a function of TensorFlow ops on symbolic tensors of Keras.

    Nothing runs: the function is traced, so that inputs are checked as in a
    real call.

    Args:
        call: Takes as many arguments as there are values.
        *values: `keras.KerasTensor`s, dense, sparse or ragged, in any
            structure; others are passed as they are.

    Returns:
        The outputs of the function, with a `KerasTensor` for each tensor.
    """
    specs = keras.tree.map_structure(_spec, values)
    flat = keras.tree.flatten(specs)
    found = []

    def trace(*tensors):
        tensors = iter(tensors)
        filled = [
            next(tensors) if isinstance(one, tf.TypeSpec) else one
            for one in flat
        ]
        outputs = call(*keras.tree.pack_sequence_as(specs, filled))
        found.append(keras.tree.map_structure(_keras_tensor, outputs))

    tf.function(trace, autograph=False).get_concrete_function(
        *[one for one in flat if isinstance(one, tf.TypeSpec)]
    )
    return found[-1]


def is_symbolic(values) -> bool:
    """Returns True if a structure holds a `KerasTensor`."""
    return any(
        isinstance(value, keras.KerasTensor)
        for value in keras.tree.flatten(values)
    )


def _spec(value):
    if not isinstance(value, keras.KerasTensor):
        return value
    shape, dtype = value.shape, tf.as_dtype(value.dtype)
    if value.sparse:
        return tf.SparseTensorSpec(shape, dtype)
    if getattr(value, "ragged", False):
        rank = getattr(value, "ragged_rank", None) or len(shape) - 1
        return tf.RaggedTensorSpec(shape, dtype, rank, tf.int64)
    return tf.TensorSpec(shape, dtype)


def _keras_tensor(value):
    if not tf.is_tensor(value):
        return value
    kinds = {}
    if isinstance(value, tf.SparseTensor):
        kinds["sparse"] = True
    elif isinstance(value, tf.RaggedTensor):
        kinds["ragged"] = True
    return keras.KerasTensor(value.shape, value.dtype.name, **kinds)
