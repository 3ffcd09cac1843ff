"""Puts together what one step has for one table.

A table has a variable for lookups of features without a `min_count`, and one
for each `min_count` that a feature has of its own. The slices of all of them
are one step of the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.anchor import TableVariable
from monolith_tf.table import Table


@dataclasses.dataclass(frozen=True)
class TableSlices:
    """The gradients of one table's variables.

    Attributes:
        table: The table.
        gradients: One a variable: values float32 `[n_v, dim]`, indices int64
            `[n_v]`.
        variables: The variables, each once.
    """

    table: Table
    gradients: list[tf.IndexedSlices]
    variables: list[TableVariable]

    @classmethod
    def group(cls, grads_and_vars: Sequence[tuple]) -> list:
        """Puts pairs of one table together.

        Args:
            grads_and_vars: Pairs of a gradient and its variable, slices where
                the variable is that of a table. One that comes twice makes two
                steps, as with any Keras optimizer.

        Returns:
            The pairs of dense variables as they are, and a `TableSlices` where
            the first pair of a table stood.
        """
        parts: list = []
        groups: dict[tuple, TableSlices] = {}
        times: dict[int, int] = {}
        for gradient, variable in grads_and_vars:
            if not isinstance(variable, TableVariable):
                parts.append((gradient, variable))
                continue
            times[id(variable)] = times.get(id(variable), 0) + 1
            key = (id(variable.table), times[id(variable)])
            if key not in groups:
                groups[key] = cls(variable.table, [], [])
                parts.append(groups[key])
            groups[key].gradients.append(gradient)
            groups[key].variables.append(variable)
        return parts

    def together(self) -> tf.IndexedSlices:
        """The slices of all variables: values `[n, dim]`, indices `[n]`."""
        if len(self.gradients) == 1:
            return self.gradients[0]
        return tf.IndexedSlices(
            tf.concat([part.values for part in self.gradients], axis=0),
            tf.concat([part.indices for part in self.gradients], axis=0),
            self.gradients[0].dense_shape,
        )

    def min_counts(self) -> tf.Tensor | None:
        """What each slice of `together` brings: int64 `[n]`.

        Returns:
            None when no feature has a min_count of its own. Else a feature
            without one brings that of the table.
        """
        if not any(variable.min_count for variable in self.variables):
            return None
        of_table = self.table.config.admission.min_count
        return tf.concat(
            [
                tf.fill(
                    tf.shape(part.indices, tf.int64),
                    tf.constant(variable.min_count or of_table, tf.int64),
                )
                for part, variable in zip(
                    self.gradients, self.variables, strict=True
                )
            ],
            axis=0,
        )
