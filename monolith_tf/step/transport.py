"""The format of floats between workers and servers."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from monolith_tf import ops


@dataclasses.dataclass(frozen=True)
class Wire:
    """Narrows floats before an edge and widens them behind it.

    Attributes:
        dtype: float32, bfloat16 or float16. float32 changes nothing.
    """

    dtype: tf.DType

    def send(self, floats: tf.Tensor, num_exact: int = 0) -> tf.Tensor:
        """Returns the message; runs on the device of the sender.

        Args:
            floats: float32 `[n]`.
            num_exact: Number of floats at the beginning that keep all bits.
        """
        if self.dtype == tf.float32:
            return floats
        return ops.narrow(
            floats, wire_format=self.dtype.name, num_exact=num_exact
        )

    def receive(self, message: tf.Tensor, num_exact: int = 0) -> tf.Tensor:
        """Returns float32 `[n]`; runs on the device of the receiver."""
        if self.dtype == tf.float32:
            return message
        return ops.widen(
            message, wire_format=self.dtype.name, num_exact=num_exact
        )
