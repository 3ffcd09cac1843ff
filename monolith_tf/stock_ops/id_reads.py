"""Observation of the ids that layers read, for exports.

An export finds in this way which feature reads which input of a model, and
with which padding.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import NamedTuple


class IdRead(NamedTuple):
    """One use of ids by a layer, while `observed_reads` observes.

    Attributes:
        reader: Names the reader, for messages: "feature 'genres'".
        feature: Name of the feature; None if it has no name of its own.
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


@contextlib.contextmanager
def observed_reads() -> Iterator[list[IdRead]]:
    """Collects the ids that layers read in this context.

    An export finds in this way which feature reads which input of a model.

    Yields:
        A list that grows with each read.
    """
    found: list[IdRead] = []
    token = _reads.set(found)
    try:
        yield found
    finally:
        _reads.reset(token)


def current_reads() -> list[IdRead] | None:
    """Returns the list that layers add their reads to, or None."""
    return _reads.get()
