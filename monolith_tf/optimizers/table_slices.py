"""Puts together what one step has for one table.

A table has a variable for lookups of features without a `min_count` or ttl, and
one for each that features have of their own. The slices of all of them are one
step of the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.config.feature_overrides import completed
from monolith_tf.placement.registry import two_configs_message
from monolith_tf.step.table_variable import TableVariable
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

    def own_terms(self) -> tf.Tensor | None:
        """What each slice of `together` brings: int64 `[n]`.

        Returns:
            None when no feature has terms of its own.
        """
        words = [variable.own_terms for variable in self.variables]
        if not any(words):
            return None
        return tf.concat(
            [
                tf.fill(
                    tf.shape(part.indices, tf.int64),
                    tf.constant(word, tf.int64),
                )
                for part, word in zip(
                    self.gradients,
                    completed(words, self.table.config),
                    strict=True,
                )
            ],
            axis=0,
        )


def check_slices(gradient, variable: TableVariable) -> None:
    """Refuses a gradient of a table that is no slices.

    Raises:
        TypeError: It is none.
    """
    if isinstance(gradient, tf.IndexedSlices):
        return
    raise TypeError(
        f"The gradient of table {variable.table.name!r} must be a "
        "tf.IndexedSlices, as a tf.GradientTape gives it. Received: "
        f"{gradient!r}. Made dense it has no rows left. To accumulate "
        "gradients over batches use mt.optimizers.sum_gradients."
    )


def check_names(tables: Sequence[Table]) -> None:
    """Refuses two tables of one name in a step.

    `clone_model` makes two of one that two layers share, and each would get a
    part of the gradients.

    Raises:
        ValueError: There are two.
    """
    by_name = {}
    for table in tables:
        other = by_name.setdefault(table.name, table)
        if other is not table:
            raise ValueError(two_configs_message(other.config, table.config))
