"""The copy of a model's dense variables in an export."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class DenseCopy(tf.Module):
    """Variables with the values of a model's variables.

    Args:
        names: Name of each variable, in manifest order.
        values: Value of each variable, in the same order.

    Raises:
        ValueError: A variable is not numeric, for example of strings.
    """

    def __init__(self, names: Sequence[str], values: Sequence[np.ndarray]):
        """Makes the variables."""
        super().__init__()
        self._names = list(names)
        self.copies = []
        for name, value in zip(names, values, strict=True):
            tensor = tf.convert_to_tensor(value)
            _check_dtype(name, tensor.dtype)
            self.copies.append(
                tf.Variable(
                    tensor,
                    trainable=False,
                    name="dense/" + name.partition(":")[0],
                )
            )
        self.num_bytes = sum(map(_num_bytes, self.copies))

    def manifest(self) -> list[dict]:
        """Returns name, dtype and shape per variable, in order."""
        return [
            {
                "name": name,
                "dtype": copy.dtype.name,
                "shape": copy.shape.as_list(),
            }
            for name, copy in zip(self._names, self.copies, strict=True)
        ]

    def assign(self, content: tf.Tensor) -> list[tf.Operation]:
        """Sets every variable.

        Args:
            content: uint8 `[num_bytes]`, the little-endian bytes of all
                variables, one after the other.

        Returns:
            The assignments.
        """
        writes = []
        offset = 0
        for copy in self.copies:
            end = offset + _num_bytes(copy)
            value = _from_bytes(content[offset:end], copy.dtype, copy.shape)
            writes.append(copy.assign(value, read_value=False))
            offset = end
        return [write for write in writes if write is not None]


def _num_bytes(variable: tf.Variable) -> int:
    return variable.shape.num_elements() * variable.dtype.size


def _from_bytes(
    content: tf.Tensor, dtype: tf.DType, shape: tf.TensorShape
) -> tf.Tensor:
    if dtype == tf.bool:
        return tf.reshape(tf.not_equal(content, 0), shape)
    tail = [] if dtype.size == 1 else [dtype.size]
    return tf.bitcast(tf.reshape(content, shape.as_list() + tail), dtype)


def _check_dtype(name: str, dtype: tf.DType) -> None:
    if not (
        dtype.is_floating
        or dtype.is_integer
        or dtype.is_complex
        or dtype.is_bool
    ):
        raise ValueError(
            "Dense variables must be numeric, because a delta has their "
            f"bytes. Received: {name!r} of dtype {dtype.name}. Keep it out of "
            "the model's variables, for example in a preprocessing step."
        )
