"""Where a layer reads its rows from while it is traced.

Layers read the training tables, unless a backend stands in: an export traces
the model while a backend reads the tables of the SavedModel.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import NamedTuple
from typing import Protocol

import tensorflow as tf

_backend: contextvars.ContextVar[LookupBackend | None] = contextvars.ContextVar(
    "monolith_tf_lookup_backend", default=None
)


class IdRead(NamedTuple):
    """One use of ids by a layer, while `observed_reads` observes.

    Attributes:
        reader: Names what reads, for messages: "feature 'genres'".
        feature: Name of the feature, None where it has no name of its own.
        padding_id: Padding id of the feature, or None.
        ids: The ids: tensor, `tf.RaggedTensor` or `tf.SparseTensor`.
    """

    reader: str
    feature: str | None
    padding_id: int | None
    ids: object


_reads: contextvars.ContextVar[list[IdRead] | None] = contextvars.ContextVar(
    "monolith_tf_observed_reads", default=None
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


@contextlib.contextmanager
def observed_reads() -> Iterator[list[IdRead]]:
    """Collects which ids layers read in this context.

    An export finds out so which input of a model which feature reads.

    Yields:
        A list that grows with each read.
    """
    found: list[IdRead] = []
    token = _reads.set(found)
    try:
        yield found
    finally:
        _reads.reset(token)


def note_read(read: IdRead) -> None:
    """Tells of ids that a layer reads; does nothing unless observed."""
    found = _reads.get()
    if found is not None:
        found.append(read)
