"""Values that hold for the updates of tables in a `with` block."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import warnings
from collections.abc import Iterator

import tensorflow as tf


@dataclasses.dataclass
class _Block:
    value: tf.Tensor
    # Of a block that was entered eagerly.
    number: int | None
    was_read: bool = False


class BlockValue:
    """A scalar that updates made in a `with` block of this thread go by.

    A function that TensorFlow has traced keeps the number that it was traced
    with, or that there was none. So a block that is entered eagerly, whose
    number no update asked for, warns: either there was no update in it, or a
    function was called that goes on with another number.

    Args:
        name: What opens the block, for messages: "mt.event_time".
    """

    def __init__(self, name: str):
        """Makes a value that no block has set."""
        self._name = name
        self._block: contextvars.ContextVar[_Block | None] = (
            contextvars.ContextVar(name, default=None)
        )
        # Numbers that functions were traced with; None is no block. A tensor
        # of the function itself is none of them.
        self._traced: set[int | None] = set()

    @contextlib.contextmanager
    def hold(self, value: tf.Tensor) -> Iterator[None]:
        """Makes `value` the current one in a block.

        Args:
            value: int64 scalar.
        """
        is_eager = hasattr(value, "numpy") and tf.executing_eagerly()
        block = _Block(value, int(value) if is_eager else None)
        token = self._block.set(block)
        try:
            yield
        finally:
            self._block.reset(token)
        if (
            block.number is None
            or block.was_read
            or not self._traced
            or self._traced == {block.number}
        ):
            return
        warnings.warn(
            f"No update of a table read the {block.number} of a `with "
            f"{self._name}(...)` block. A function that was traced before "
            "(tf.function, `fit`, `train_on_batch`) keeps the number that it "
            "was traced with, or none: give it the number as a tensor argument "
            f"and open the block inside, `with {self._name}(tensor)`.",
            RuntimeWarning,
            stacklevel=6,
        )

    def get(self) -> tf.Tensor | None:
        """Returns the value of the innermost block, or None."""
        block = self._block.get()
        if block is not None:
            block.was_read = True
        number = None if block is None else block.number
        if tf.inside_function() and (block is None or number is not None):
            self._traced.add(number)
        return None if block is None else block.value
