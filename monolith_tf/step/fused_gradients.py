"""Recognizes unmodified lookup gradients, to sum them without slices.

The gradient of a lookup is a `tf.IndexedSlices` with one slice per id of the
batch. If it reaches the optimizer as TensorFlow made it (not clipped, scaled or
passed out of a function), the graph still has its sources: the gradients of the
vectors, and the routes of the ids in the lookup. Then one op sums those
gradients by id, and TensorFlow removes the ops of the slices, which nothing
reads. The results differ only in the order of float sums.

The vectors of many features are often concatenated. TensorFlow splits the
gradient of a concatenation, which copies all of it. The op reads the columns of
the whole gradient instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.config.feature_overrides import completed
from monolith_tf.config.table_config import TableConfig
from monolith_tf.ops.gradient_ops import feature_of


@dataclasses.dataclass(frozen=True)
class FusedGradients:
    """Gradients of the vectors of one lookup.

    Attributes:
        route: The MonolithPartition operation of the lookup.
        tables: Per gradient the number of its table in that lookup.
        leaves: MonolithSlices operations, one per feature, in order.
    """

    route: tf.Operation
    tables: list[int]
    leaves: list[tf.Operation]

    @classmethod
    def find(
        cls, gradients: Sequence[tf.IndexedSlices]
    ) -> FusedGradients | None:
        """Finds the lookup that gradients belong to.

        Args:
            gradients: Per table.

        Returns:
            None unless all gradients are unmodified gradients of one lookup.
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
            configs: Configs of the tables.
            **step: `global_step`, `event_time` and `learning_rates` of
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
            overrides = completed(
                [features[f].overrides for f in of_table], config
            )
            for f, one in zip(of_table, overrides, strict=True):
                features[f] = dataclasses.replace(features[f], overrides=one)
        return features


def is_gradient_of_lookup(values: tf.Tensor, indices: tf.Tensor) -> bool:
    """Returns True for an unmodified gradient of a lookup.

    Args:
        values: float32 `[n, dim]`.
        indices: int64 `[n]`.
    """
    return bool(_leaves(values, indices))


def columns_of(gradient: tf.Tensor) -> ops.Columns | None:
    """Finds the concatenation that a gradient was split from.

    Args:
        gradient: Symbolic tensor `[..., n]`.

    Returns:
        The columns of a tensor `[..., m]`, m >= n, that hold the gradient. None
        unless TensorFlow made it for a concatenation on the last axis of
        tensors with known last dimensions.
    """
    kind = gradient.op.type
    if kind == "SplitV":
        whole, sizes, axis = gradient.op.inputs
        number, shapes = gradient.value_index, _shapes_of_sizes(sizes, axis)
    elif kind == "Slice":
        whole, begin, size = gradient.op.inputs
        if begin.op.type != "ConcatOffset":
            return None
        axis, *shapes = begin.op.inputs
        number = begin.value_index
        if shapes[number].name != size.name:
            return None
    else:
        return None
    if whole.shape.rank is None or _axis(axis) != whole.shape.rank - 1:
        return None
    widths = [_last_dimension(shape) for shape in shapes[: number + 1]]
    if not widths or None in widths:
        return None
    return ops.Columns(whole, sum(widths[:-1]))


def _leaves(values: tf.Tensor, indices: tf.Tensor) -> list[tf.Operation]:
    """Returns the operations that made slices; empty if not recognized."""
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
    """Returns the number of a feature's table in its lookup."""
    positions = _positions(leaf)
    feature = positions.value_index - positions.op.get_attr("num_shards")
    return positions.op.get_attr("feature_tables")[feature]


def _shapes_of_sizes(sizes: tf.Tensor, axis: tf.Tensor) -> list[tf.Tensor]:
    """Returns the shapes that the sizes of a split were taken from."""
    taken = sizes.op
    if taken.type != "Squeeze" or taken.inputs[0].op.type != "Slice":
        return []
    table, begin, _ = taken.inputs[0].op.inputs
    if (table.op.type, begin.op.type) != ("Pack", "Pack"):
        return []
    if table.op.get_attr("axis") != 1 or begin.op.inputs[0].name != axis.name:
        return []
    return list(table.op.inputs)


def _axis(axis: tf.Tensor) -> int | None:
    if axis.op.type != "FloorMod":
        return tf.get_static_value(axis)
    number, rank = (tf.get_static_value(value) for value in axis.op.inputs)
    return None if number is None or rank is None else number % rank


def _last_dimension(shape: tf.Tensor) -> int | None:
    """Returns the last dimension of a shape that a graph computes."""
    if shape.op.type in ("Shape", "ShapeN"):
        known = shape.op.inputs[shape.value_index].shape
        return known[-1] if known.rank else None
    value = tf.get_static_value(shape)
    return None if value is None else int(value[-1])
