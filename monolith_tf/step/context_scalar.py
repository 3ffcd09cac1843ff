"""Scalars that apply to the updates of tables in a `with` block."""

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
    # The number, if the block was entered eagerly.
    number: int | None
    was_read: bool = False


class BlockValue:
    """A scalar that applies to updates in a `with` block of this thread.

    A traced function keeps the number that it was traced with, or none. So a
    block that is entered eagerly warns if no update read its number: the block
    has no update, or it calls a function that uses another number.

    Args:
        name: Name of the function that opens the block, for messages:
            "mt.event_time".
    """

    def __init__(self, name: str):
        """Makes a value without a block."""
        self._name = name
        self._block: contextvars.ContextVar[_Block | None] = (
            contextvars.ContextVar(name, default=None)
        )
        # Numbers that functions were traced with; None for no block. Tensors of
        # the function itself are not among them.
        self._traced: set[int | None] = set()

    @contextlib.contextmanager
    def hold(self, value: tf.Tensor) -> Iterator[None]:
        """Sets the value for a block.

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
