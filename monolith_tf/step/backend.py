"""The backend that layers read rows from while they are called.

By default layers read the training tables (`TableOps`). An export sets a
`StockBackend` while it traces the model: it reads the tables of the SavedModel
by stock TensorFlow ops.
"""

from __future__ import annotations

import abc
import contextlib
import contextvars
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.step.lookup import TableOps


class LookupBackend(Protocol):
    """Turns the ids of features into vectors."""

    def read_features(
        self,
        tables: Sequence[TableHandle],
        features: Sequence[ops.FeatureBatch],
        feature_tables: Sequence[int],
    ) -> list[tf.Tensor]:
        """Reads the rows of features and combines them.

        Args:
            tables: Distinct tables.
            features: The features; several may read one table.
            feature_tables: Per feature the position of its table in `tables`.

        Returns:
            Per feature float32, of the shape that `ops.combine` gives.
        """

    def fill_missing(
        self, features: Sequence[ops.FeatureBatch]
    ) -> list[ops.FeatureBatch]:
        """Does what `ops.fill_missing` does."""

    def sparse_splits(
        self, values: Sequence[tf.SparseTensor]
    ) -> list[tf.Tensor]:
        """Does what `ops.sparse_splits` does."""

    def checked_weights(
        self, weights: tf.Tensor, places: tf.Tensor, expected: tf.Tensor
    ) -> tf.Tensor:
        """Does what `ops.checked_weights` does."""


class StockBackend(abc.ABC):
    """Base of backends that read rows by stock TensorFlow ops.

    A subclass implements `lookup`.
    """

    fill_missing = staticmethod(ops.stock_fill_missing)
    sparse_splits = staticmethod(ops.stock_sparse_splits)
    checked_weights = staticmethod(ops.stock_checked_weights)

    @abc.abstractmethod
    def lookup(self, table: TableHandle, ids: tf.Tensor) -> tf.Tensor:
        """Reads rows.

        Args:
            table: The training table that a layer reads.
            ids: int64 `[n]`.

        Returns:
            float32 `[n, dim]`.
        """

    def read_features(
        self,
        tables: Sequence[TableHandle],
        features: Sequence[ops.FeatureBatch],
        feature_tables: Sequence[int],
    ) -> list[tf.Tensor]:
        """Implements `LookupBackend` by one `lookup` per table."""
        valid = [ops.valid_ids(feature) for feature in features]
        wanted = []
        for feature, mask in zip(features, valid, strict=True):
            ids = tf.reshape(feature.ids, [-1])
            if mask is not None:
                ids = tf.boolean_mask(ids, tf.reshape(mask, [-1]))
            wanted.append(ids)
        vectors: list[tf.Tensor | None] = [None] * len(features)
        for number, table in enumerate(tables):
            chosen = [f for f, t in enumerate(feature_tables) if t == number]
            rows = self.lookup(
                table, tf.concat([wanted[f] for f in chosen], axis=0)
            )
            parts = tf.split(
                rows, [tf.shape(wanted[f])[0] for f in chosen], num=len(chosen)
            )
            for f, part in zip(chosen, parts, strict=True):
                part = tf.ensure_shape(part, [None, table.dim])
                vectors[f] = ops.stock_combine(part, valid[f], features[f])
        return vectors


_TABLE_OPS = TableOps()
_backend: contextvars.ContextVar[LookupBackend] = contextvars.ContextVar(
    "monolith_tf_lookup_backend", default=_TABLE_OPS
)


def current_backend() -> LookupBackend:
    """Returns the backend of this context."""
    return _backend.get()


@contextlib.contextmanager
def lookup_backend(backend: LookupBackend) -> Iterator[None]:
    """Makes layers read from a backend in this context."""
    token = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(token)


def read_rows(table: TableHandle, ids: tf.Tensor) -> tf.Tensor:
    """Reads rows of one table from the backend of this context.

    Args:
        table: The table.
        ids: int64 `[n]`, duplicates allowed.

    Returns:
        float32 `[n, dim]`, in the order of the ids; an unseen id reads its
        initial row. Its gradient goes to the variable of the table.
    """
    feature = ops.FeatureBatch(ids=ids)
    return current_backend().read_features([table], [feature], [0])[0]
