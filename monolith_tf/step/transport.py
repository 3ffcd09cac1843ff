"""How floats cross between workers and servers."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from monolith_tf import ops


@dataclasses.dataclass(frozen=True)
class Wire:
    """Narrows what is sent and widens what is received.

    Attributes:
        dtype: float32, bfloat16 or float16. float32 leaves all as it is.
    """

    dtype: tf.DType

    def send(self, floats: tf.Tensor, num_exact: int = 0) -> tf.Tensor:
        """Returns what crosses; call it on the side of the sender.

        Args:
            floats: float32 `[n]`.
            num_exact: How many of them, at the beginning, keep all their bits.
        """
        if self.dtype == tf.float32:
            return floats
        return ops.narrow(
            floats, wire_format=self.dtype.name, num_exact=num_exact
        )

    def receive(self, message: tf.Tensor, num_exact: int = 0) -> tf.Tensor:
        """Returns float32 `[n]` of what crossed; call it on the other side."""
        if self.dtype == tf.float32:
            return message
        return ops.widen(
            message, wire_format=self.dtype.name, num_exact=num_exact
        )
