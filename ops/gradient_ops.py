"""Ops that turn gradients of vectors into gradients of rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.config.feature_overrides import FeatureOverrides
from monolith_tf.ops.feature_ops import FeatureBatch
from monolith_tf.ops.feature_ops import list_attributes
from monolith_tf.ops.feature_ops import present
from monolith_tf.ops.library import library
from monolith_tf.ops.stock_combine import stock_combine


@dataclasses.dataclass(frozen=True)
class Columns:
    """Columns of a wider tensor, from a first one on.

    Attributes:
        whole: float32 `[..., m]`.
        first: The first of the columns. Their number is the reader's.
    """

    whole: tf.Tensor
    first: int


def slices(
    gradient: tf.Tensor,
    positions: tf.Tensor,
    feature: FeatureBatch,
    *,
    dim: int,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns the gradient of a feature's vectors into gradients of rows.

    Reads and changes no table. Slices keep the order of the ids, and a
    duplicate id has one slice per occurrence. Leaves out padding and the ids
    that first_n cut off.

    Args:
        gradient: float32, in the shape of the vectors.
        positions: int64, the output of `partition` for the feature.
        feature: The feature.
        dim: Row length of its table.
        name: Name of the op.

    Returns:
        The gradients of rows, float32 `[m, dim]`, and their ids, int64 `[m]`.
    """
    return library.monolith_slices(
        gradient,
        feature.ids,
        positions,
        present([feature], "splits"),
        present([feature], "weights"),
        combiner=feature.combiner or "none",
        n=feature.max_sequence_length,
        dim=dim,
        overrides=feature.overrides.encode(),
        name=name,
    )


def partition_gradients(
    *,
    global_step: tf.Tensor,
    event_time: tf.Tensor,
    learning_rates: tf.Tensor,
    ids: Sequence[tf.Tensor],
    gradients: Sequence[tf.Tensor],
    overrides: Sequence[tf.Tensor | None] | None = None,
    num_shards: int,
    name: str | None = None,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Sums the gradients of equal ids, counts the ids and splits them by shard.

    Reads and changes no table. Sums are float32, in the order of the ids.
    Distinct ids keep the order of their first occurrence. If an id has several
    overrides, the lowest threshold (the smallest min_count or the largest
    probability, a min_count before a probability) and the longest time to live
    hold.

    Args:
        global_step: int64 scalar, 1 for the first step.
        event_time: int64 scalar, seconds since the epoch; or the result of
            `with_request`.
        learning_rates: float32 `[r]`, the learning rates that `apply` takes.
        ids: Per table int64 `[n_t]`.
        gradients: Per table float32 `[n_t, dim_t]`.
        overrides: Per table int64 `[n_t]`, the encoded overrides of each slice,
            0 for none; or None for a table without any. None for no overrides.
        num_shards: Number of servers.
        name: Name of the op.

    Returns:
        Per shard the int64 and the float32 input of `apply`.
    """
    present_overrides = {
        number: table_overrides
        for number, table_overrides in enumerate(overrides or ())
        if table_overrides is not None
    }
    return library.monolith_partition_gradients(
        global_step,
        event_time,
        learning_rates,
        list(ids),
        list(gradients),
        list(present_overrides.values()),
        num_shards=num_shards,
        override_tables=list(present_overrides),
        name=name,
    )


def combine_gradients(
    *,
    global_step: tf.Tensor,
    event_time: tf.Tensor,
    learning_rates: tf.Tensor,
    packed: Sequence[tf.Tensor],
    gradients: Sequence[tf.Tensor | Columns],
    positions: Sequence[tf.Tensor],
    features: Sequence[FeatureBatch],
    feature_tables: Sequence[int],
    num_tables: int,
    tables: Sequence[int],
    dims: Sequence[int],
    name: str | None = None,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Sums the gradients of vectors by id, in one pass over a lookup's ids.

    Does the work of `slices` and `partition_gradients`. Reads and changes no
    table. An id is passed on if it occurs in one of the features, with its
    number of occurrences there. Sums are float32, in the order of the features.
    If an id has several overrides, the lowest threshold (the smallest min_count
    or the largest probability, a min_count before a probability) and the
    longest time to live hold.

    Args:
        global_step: int64 scalar, 1 for the first step.
        event_time: int64 scalar, seconds since the epoch; or the result of
            `with_request`.
        learning_rates: float32 `[r]`, the learning rates that `apply` takes for
            `tables`.
        packed: Per shard the int64 output of `partition`.
        gradients: Per feature float32, in the shape of its vectors, or the
            columns of a wider tensor.
        positions: Per feature the int64 output of `partition`.
        features: The features that have a gradient.
        feature_tables: Per feature the number of its table, as in `partition`.
        num_tables: The number of tables that `partition` got.
        tables: Numbers of the tables that the features read, each once.
        dims: Their row lengths.
        name: Name of the op.

    Returns:
        Per shard the int64 and the float32 input of `apply` for `tables`.
    """
    # A tensor of which several features are columns is one input.
    wholes = {}
    gradient_of, first_columns = [], []
    for gradient in gradients:
        first = -1
        if isinstance(gradient, Columns):
            gradient, first = gradient.whole, gradient.first
        number, _ = wholes.setdefault(id(gradient), (len(wholes), gradient))
        gradient_of.append(number)
        first_columns.append(first)
    return library.monolith_combine_gradients(
        global_step,
        event_time,
        learning_rates,
        list(packed),
        [gradient for _, gradient in wholes.values()],
        list(positions),
        present(features, "splits"),
        present(features, "weights"),
        num_tables=num_tables,
        feature_tables=list(feature_tables),
        weighted=[feature.weights is not None for feature in features],
        gradient_of=gradient_of,
        first_columns=first_columns,
        tables=list(tables),
        dims=list(dims),
        overrides=(
            [feature.overrides.encode() for feature in features]
            if any(feature.overrides for feature in features)
            else []
        ),
        name=name,
        **list_attributes(features),
    )


@tf.RegisterGradient("MonolithAttach")
def _attach_gradient(op: tf.Operation, gradient: tf.Tensor):
    _, ids, positions, *rest = op.inputs[1:]
    # Vectors of ids of an unknown rank have no static shape.
    dim = op.get_attr("dim")
    values, indices = slices(
        # A gradient through tf.gather of the vectors is a tf.IndexedSlices.
        tf.convert_to_tensor(gradient),
        positions,
        feature_of(op, ids, rest),
        dim=dim,
    )
    return (
        tf.IndexedSlices(values, indices, tf.constant([0, dim])),
        *[None] * 3,
        # The op that the weights come from refuses their gradient.
        *[tf.zeros_like(t) if t.dtype == tf.float32 else None for t in rest],
    )


@tf.RegisterGradient("MonolithSlices")
def _slices_gradient(op: tf.Operation, values: tf.Tensor, indices):
    """Combines: slices are linear, and combining is their transpose."""
    del indices
    _, ids, positions, *rest = op.inputs
    combined = stock_combine(
        tf.convert_to_tensor(values),
        positions >= 0,
        feature_of(op, ids, rest),
    )
    return combined, *[None] * (2 + len(rest))


def feature_of(op, ids: tf.Tensor, rest: Sequence[tf.Tensor]) -> FeatureBatch:
    """Returns the feature of an op on one feature.

    Args:
        op: MonolithAttach or MonolithSlices.
        ids: Its ids.
        rest: Its last inputs, splits and weights.
    """
    combiner = op.get_attr("combiner").decode()
    return FeatureBatch(
        ids,
        next((t for t in rest if t.dtype == tf.int64), None),
        next((t for t in rest if t.dtype == tf.float32), None),
        None if combiner == "none" else combiner,
        op.get_attr("n"),
        overrides=FeatureOverrides.decode(op.get_attr("overrides")),
    )
