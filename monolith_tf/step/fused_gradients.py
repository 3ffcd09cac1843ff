"""Finds out that gradients of rows need not be written down.

The gradient of a lookup is a `tf.IndexedSlices`, one slice an id of the batch.
When it reaches the optimizer as TensorFlow made it (not clipped, scaled or
passed out of a function), the graph still holds what it was made of: the
gradients of the vectors, and the routes that the ids took for the lookup. Then
one op sums those gradients by id, and TensorFlow drops the ops of the slices,
which nothing reads. The results are the same but for the order of float sums.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.config.feature_overrides import completed
from monolith_tf.config.table_config import TableConfig
from monolith_tf.ops.gradient_ops import feature_of
from monolith_tf.step.concat_gradients import columns_of


@dataclasses.dataclass(frozen=True)
class RoutedGradients:
    """Gradients of the vectors of one lookup.

    Attributes:
        route: The MonolithPartition operation of the lookup.
        tables: Per gradient that was given the number of its table there.
        leaves: MonolithSlices operations, one a feature, features in order.
    """

    route: tf.Operation
    tables: list[int]
    leaves: list[tf.Operation]

    @classmethod
    def find(
        cls, gradients: Sequence[tf.IndexedSlices]
    ) -> RoutedGradients | None:
        """Looks for the lookup that gradients are of.

        Args:
            gradients: Per table.

        Returns:
            None unless every gradient is, as TensorFlow made it, one of the
            same lookup.
        """
        tables, leaves = [], []
        for gradient in gradients:
            found = _leaves(gradient.values, gradient.indices)
            if not found:
                return None
            numbers = {_table_of(leaf) for leaf in found}
            if len(numbers) > 1:
                return None
            tables += numbers
            leaves += found
        routes = {_positions(leaf).op for leaf in leaves}
        places = {_positions(leaf).value_index for leaf in leaves}
        if len(routes) > 1 or len(places) < len(leaves):
            return None
        leaves.sort(key=lambda leaf: _positions(leaf).value_index)
        return cls(routes.pop(), tables, leaves)

    def by_shard(self, configs: Sequence[TableConfig], **step):
        """Sums by id and splits by shard.

        Args:
            configs: Those of the tables.
            **step: `global_step`, `event_time` and `learning_rates`, as of
                `ops.partition_gradients`.

        Returns:
            Per shard the int64 and the float32 input of `ops.apply`.
        """
        num_shards = self.route.get_attr("num_shards")
        return ops.combine_gradients(
            packed=self.route.outputs[:num_shards],
            gradients=[
                columns_of(leaf.inputs[0]) or leaf.inputs[0]
                for leaf in self.leaves
            ],
            positions=[_positions(leaf) for leaf in self.leaves],
            features=self._features(configs),
            feature_tables=[_table_of(leaf) for leaf in self.leaves],
            num_tables=self.route.get_attr("num_tables"),
            tables=self.tables,
            dims=[config.dim for config in configs],
            **step,
        )

    def _features(self, configs: Sequence[TableConfig]):
        features = [
            feature_of(leaf, leaf.inputs[1], leaf.inputs[3:])
            for leaf in self.leaves
        ]
        tables = [_table_of(leaf) for leaf in self.leaves]
        for number, config in zip(self.tables, configs, strict=True):
            of_table = [f for f, t in enumerate(tables) if t == number]
            words = completed([features[f].own_terms for f in of_table], config)
            for f, word in zip(of_table, words, strict=True):
                features[f] = dataclasses.replace(features[f], own_terms=word)
        return features


def is_gradient_of_lookup(values: tf.Tensor, indices: tf.Tensor) -> bool:
    """Whether that is, as TensorFlow made it, the gradient of a lookup.

    Args:
        values: float32 `[n, dim]`.
        indices: int64 `[n]`.
    """
    return bool(_leaves(values, indices))


def _leaves(values: tf.Tensor, indices: tf.Tensor) -> list[tf.Operation]:
    """The operations that slices were concatenated of; none if not known."""
    if not (tf.is_symbolic_tensor(values) and tf.is_symbolic_tensor(indices)):
        return []
    kind = values.op.type
    if kind == "MonolithSlices":
        is_whole = (
            indices.op is values.op
            and (values.value_index, indices.value_index) == (0, 1)
            and _positions(values.op).op.type == "MonolithPartition"
        )
        return [values.op] if is_whole else []
    if kind != "ConcatV2" or indices.op.type != "ConcatV2":
        return []
    parts = []
    for concat in (values.op, indices.op):
        *inputs, axis = concat.inputs
        if tf.get_static_value(axis) != 0:
            return []
        parts.append(inputs)
    if len(parts[0]) != len(parts[1]):
        return []
    found = [_leaves(*part) for part in zip(*parts, strict=True)]
    return sum(found, []) if all(found) else []


def _positions(leaf: tf.Operation) -> tf.Tensor:
    return leaf.inputs[2]


def _table_of(leaf: tf.Operation) -> int:
    """The number of the table that a feature reads, in its lookup."""
    positions = _positions(leaf)
    feature = positions.value_index - positions.op.get_attr("num_shards")
    return positions.op.get_attr("feature_tables")[feature]
