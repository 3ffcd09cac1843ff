"""Where a layer reads its rows from while it is traced.

Layers read the training tables, unless a backend stands in: an export traces
the model while a backend reads the tables of the SavedModel.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Protocol

import tensorflow as tf

_backend: contextvars.ContextVar[LookupBackend | None] = contextvars.ContextVar(
    "monolith_tf_lookup_backend", default=None
)


class LookupBackend(Protocol):
    """Reads rows in place of the training tables."""

    def lookup(self, table, ids: tf.Tensor) -> tf.Tensor:
        """Reads rows.

        Args:
            table: The `mt.Table` that the layer wants to read.
            ids: int64 `[n]`.

        Returns:
            float32 `[n, dim]`.
        """


def current_backend() -> LookupBackend | None:
    """Returns the backend that stands in, or None."""
    return _backend.get()


@contextlib.contextmanager
def lookup_backend(backend: LookupBackend) -> Iterator[None]:
    """Lets a backend stand in for the training tables in this context."""
    token = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(token)
