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
    """Some of the columns of a tensor, as many as who reads them needs.

    Attributes:
        whole: float32 `[..., m]`.
        first: The first of the columns.
    """

    whole: tf.Tensor
    first: int


def slices(
    gradient: tf.Tensor,
    positions: tf.Tensor,
    feature: FeatureBatch,
    *,
    dim: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns the gradient of a feature's vectors into slices, one an id.

    Args:
        gradient: float32, of the shape of the vectors.
        positions: What `partition` gave for the feature.
        feature: The feature.
        dim: Row length of its table.

    Returns:
        values float32 `[m, dim]` and indices int64 `[m]`: gradients of rows and
        their ids in the order of the batch, duplicates repeated; padding and
        what first_n cut off left out.
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
        own_terms=feature.overrides.encode(),
    )


def partition_gradients(
    *,
    global_step: tf.Tensor,
    event_time: tf.Tensor,
    learning_rates: tf.Tensor,
    ids: Sequence[tf.Tensor],
    gradients: Sequence[tf.Tensor],
    own_terms: Sequence[tf.Tensor | None] | None = None,
    num_shards: int,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Sums the gradients of equal ids, counts them and splits them by shard.

    Args:
        global_step: int64 scalar, 1 for the first step.
        event_time: int64 scalar, seconds since the epoch.
        learning_rates: float32 `[r]`, what `apply` takes for the tables.
        ids: Per table int64 `[n_t]`.
        gradients: Per table float32 `[n_t, dim_t]`.
        own_terms: Per table int64 `[n_t]`, what each slice brings for its id
            (encoded `FeatureOverrides`), or None for a table whose slices bring
            nothing; default is None for all. Of an id the easiest bar and the
            longest ttl hold.
        num_shards: Number of servers.

    Returns:
        Per shard the int64 and the float32 input of `apply`.
    """
    counted = {
        number: table_counts
        for number, table_counts in enumerate(own_terms or ())
        if table_counts is not None
    }
    return library.monolith_partition_gradients(
        global_step,
        event_time,
        learning_rates,
        list(ids),
        list(gradients),
        list(counted.values()),
        num_shards=num_shards,
        counted_tables=list(counted),
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
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Does `slices` and `partition_gradients` in one pass over a lookup's ids.

    Args:
        global_step: int64 scalar, 1 for the first step.
        event_time: int64 scalar, seconds since the epoch.
        learning_rates: float32 `[r]`, what `apply` takes for `tables`.
        packed: Per shard what `partition` gave.
        gradients: Per feature float32, of the shape of its vectors, or the
            columns of something wider.
        positions: Per feature what `partition` gave.
        features: The features that have a gradient. Of an id that stands in
            several the easiest bar and the longest ttl hold.
        feature_tables: The table of each, numbered as `partition` got them.
        num_tables: How many tables `partition` got.
        tables: Numbers of the tables that the features read, each once.
        dims: Their row lengths.

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
        own_terms=(
            [feature.overrides.encode() for feature in features]
            if any(feature.overrides for feature in features)
            else []
        ),
        **list_attributes(features),
    )


@tf.RegisterGradient("MonolithAttach")
def _attach_gradient(op: tf.Operation, gradient: tf.Tensor):
    _, ids, positions, *rest = op.inputs[1:]
    # The shape of vectors of ids of an unknown rank does not tell.
    dim = op.get_attr("dim")
    values, indices = slices(
        # A gradient through tf.gather of the vectors is slices itself.
        tf.convert_to_tensor(gradient),
        positions,
        feature_of(op, ids, rest),
        dim=dim,
    )
    return (
        tf.IndexedSlices(values, indices, tf.constant([0, dim])),
        *[None] * 3,
        # Weights refuse their gradient where they come from.
        *[tf.zeros_like(t) if t.dtype == tf.float32 else None for t in rest],
    )


@tf.RegisterGradient("MonolithSlices")
def _slices_gradient(op: tf.Operation, values: tf.Tensor, indices):
    """Slices are linear in the gradient that they are made of.

    To combine is the transposed of making slices.
    """
    del indices
    _, ids, positions, *rest = op.inputs
    combined = stock_combine(
        tf.convert_to_tensor(values),
        positions >= 0,
        feature_of(op, ids, rest),
    )
    return combined, *[None] * (2 + len(rest))


def feature_of(op, ids: tf.Tensor, rest: Sequence[tf.Tensor]) -> FeatureBatch:
    """Returns the feature that an op on one feature was made for.

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
        overrides=FeatureOverrides.decode(op.get_attr("own_terms")),
    )
