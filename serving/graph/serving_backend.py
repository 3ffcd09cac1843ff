"""The lookup backend that reads the tables of an export."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.errors import ExportError
from monolith_tf.serving.graph.serving_table import ServingTable
from monolith_tf.step.backend import StockBackend


class ServingBackend(StockBackend):
    """Lookup backend over serving tables.

    Args:
        tables: Training tables of the model.
        serving_tables: Their serving tables, in the same order.
    """

    def __init__(
        self, tables: Sequence, serving_tables: Sequence[ServingTable]
    ):
        """Pairs the tables by name."""
        self._by_name = {
            table.name: (table, serving_table)
            for table, serving_table in zip(tables, serving_tables, strict=True)
        }

    def lookup(self, table, ids: tf.Tensor) -> tf.Tensor:
        """Returns the rows of ids.

        Args:
            table: The training table that a layer reads.
            ids: int64 of any shape.

        Returns:
            float32, the shape of `ids` followed by `[dim]`.

        Raises:
            ExportError: The model does not have the table.
        """
        known = self._by_name.get(table.name)
        if known is None or known[0] is not table:
            raise ExportError(
                f"The model reads table {table.name!r}, which none of its "
                "layers has: the layers that can be found have "
                f"{sorted(self._by_name)}. Make the layer that reads the table "
                "an attribute of the model or of one of its layers."
            )
        rows, _ = known[1].lookup(tf.reshape(ids, [-1]))
        if ids.shape.rank == 1:
            return rows
        return tf.reshape(rows, tf.concat([tf.shape(ids), [table.dim]], 0))
