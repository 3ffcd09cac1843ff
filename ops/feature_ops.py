"""Ops that turn the ids of a worker's batch into vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.config.feature_overrides import NO_OVERRIDES
from monolith_tf.config.feature_overrides import FeatureOverrides
from monolith_tf.ops.library import library


@dataclasses.dataclass(frozen=True)
class FeatureBatch:
    """The ids of one feature in one batch, and how to combine their rows.

    Ids form lists, one per example: the innermost dimension of dense ids (ids
    of rank 1 are one list each), or the parts of row splits.

    Attributes:
        ids: int64 `[batch, ...]`, or `[m]` with `splits`.
        splits: int64 `[batch + 1]` row splits, or None.
        weights: float32 of the shape of `ids`, or None for ones.
        combiner: "sum", "mean", "sqrtn" or "first_n" makes one vector (first_n:
            `max_sequence_length` vectors) of a list; None keeps one vector per
            id.
        max_sequence_length: Number of ids that first_n keeps; 0 for other
            combiners.
        padding_id: The id of padding, or None.
        overrides: Overrides of admission and time to live for its ids.
        default_id: The id of a list without ids, see `fill_missing`; or None.
    """

    ids: tf.Tensor
    splits: tf.Tensor | None = None
    weights: tf.Tensor | None = None
    combiner: str | None = None
    max_sequence_length: int = 0
    padding_id: int | None = None
    overrides: FeatureOverrides = NO_OVERRIDES
    default_id: int | None = None


def fill_missing(
    features: Sequence[FeatureBatch], *, name: str | None = None
) -> list[FeatureBatch]:
    """Puts a default id into each list that has no id.

    Reads and changes no table. In a list of padding alone the default id
    replaces the first element. A list of row splits without elements gets one
    element, and dense lists of length 0 get length 1. A default id has weight
    1. All other ids keep their order.

    Args:
        features: Features, some of which have a default id. Without a combiner
            each id is a list.
        name: Name of the op.

    Returns:
        The features; those without a default id are unchanged.
    """
    chosen = [f for f in features if f.default_id is not None]
    if not chosen:
        return list(features)
    # Where each id is a list, splits bound nothing.
    ragged = [f.splits is not None and f.combiner is not None for f in chosen]
    weighted = [f.weights is not None for f in chosen]
    ids, splits, weights = library.monolith_fill_missing(
        [feature.ids for feature in chosen],
        [f.splits for f, has in zip(chosen, ragged, strict=True) if has],
        present(chosen, "weights"),
        single=[feature.combiner is None for feature in chosen],
        ragged=ragged,
        weighted=weighted,
        padded=[feature.padding_id is not None for feature in chosen],
        padding_ids=[feature.padding_id or 0 for feature in chosen],
        default_ids=[feature.default_id for feature in chosen],
        name=name,
    )
    splits, weights = iter(splits), iter(weights)
    filled = iter(
        [
            dataclasses.replace(
                feature,
                ids=feature_ids,
                splits=next(splits) if is_ragged else feature.splits,
                weights=next(weights) if is_weighted else None,
            )
            for feature, feature_ids, is_ragged, is_weighted in zip(
                chosen, ids, ragged, weighted, strict=True
            )
        ]
    )
    return [f if f.default_id is None else next(filled) for f in features]


def partition(
    features: Sequence[FeatureBatch],
    *,
    feature_tables: Sequence[int] | None = None,
    num_shards: int,
    distinct: bool = True,
    name: str | None = None,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Makes the ids of each table distinct and splits them by shard.

    Reads and changes no table. Skips padding and the ids that first_n cuts off.
    Distinct ids keep the order of their first occurrence, feature by feature.

    Args:
        features: All features of a lookup.
        feature_tables: Per feature the number of the table that it reads, from
            0; by default each has its own table.
        num_shards: Number of servers.
        distinct: False keeps duplicate ids, for a lookup without a gradient.
            In a tf.function the op finds that out by itself.
        name: Name of the op.

    Returns:
        Per shard the packed int64 input of `lookup`; per feature positions,
        int64 of the shape of its ids, for `combine`.
    """
    feature_tables = _tables(features, feature_tables)
    return library.monolith_partition(
        [feature.ids for feature in features],
        present(features, "splits"),
        num_tables=max(feature_tables) + 1,
        num_shards=num_shards,
        feature_tables=feature_tables,
        padded=[feature.padding_id is not None for feature in features],
        padding_ids=[feature.padding_id or 0 for feature in features],
        distinct=distinct,
        name=name,
        **list_attributes(features),
    )


def combine(
    packed: Sequence[tf.Tensor],
    shard_rows: Sequence[tf.Tensor],
    positions: Sequence[tf.Tensor],
    features: Sequence[FeatureBatch],
    *,
    feature_tables: Sequence[int] | None = None,
    dims: Sequence[int],
    name: str | None = None,
) -> list[tf.Tensor]:
    """Makes the vectors of each feature from the rows that the shards returned.

    Reads and changes no table. Vectors keep the order of the lists. A list
    without ids gives zeros.

    Args:
        packed: Per shard the int64 output of `partition`.
        shard_rows: Per shard the float32 output of `lookup`.
        positions: Per feature the int64 output of `partition`.
        features: The features that `partition` got.
        feature_tables: The tables that `partition` got.
        dims: Row length of each table.
        name: Name of the op.

    Returns:
        Per feature float32: the shape of the ids and dim without a combiner;
        else `[..., dim]`, the lists replaced by a vector each, or
        `[..., max_sequence_length, dim]` for first_n.
    """
    return library.monolith_combine(
        list(packed),
        list(shard_rows),
        list(positions),
        present(features, "splits"),
        present(features, "weights"),
        num_tables=len(dims),
        feature_tables=_tables(features, feature_tables),
        weighted=[feature.weights is not None for feature in features],
        dims=list(dims),
        name=name,
        **list_attributes(features),
    )


def attach(
    anchor: tf.Tensor,
    vectors: tf.Tensor,
    positions: tf.Tensor,
    feature: FeatureBatch,
    *,
    dim: int,
    name: str | None = None,
) -> tf.Tensor:
    """Passes the vectors of a feature on and ties them to a zero-row variable.

    Reads nothing but the vectors, and changes nothing. Their gradient for the
    variable is the tf.IndexedSlices that `slices` returns, so the gradient of a
    lookup is a value. TensorFlow removes the op from a graph before it runs.

    Args:
        anchor: The handle of the table's variable; or its value, float32 `[0,
            dim]`, which in eager execution does not place the op on the
            variable's device.
        vectors: float32, the output of `combine` for the feature.
        positions: int64, the output of `partition` for the feature.
        feature: The feature.
        dim: Row length of the table.
        name: Name of the op.

    Returns:
        The vectors.
    """
    return library.monolith_attach(
        anchor,
        vectors,
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


def checked_weights(
    weights: tf.Tensor,
    places: tf.Tensor,
    expected: tf.Tensor,
    *,
    name: str | None = None,
) -> tf.Tensor:
    """Passes weights on if they have the places of the ids.

    Reads and changes no table. Fails with InvalidArgument if the places differ.

    Args:
        weights: float32 `[m]`.
        places: int64, row splits or sparse indices of the weights.
        expected: int64, the places of the ids.
        name: Name of the op.

    Returns:
        The weights.

    Raises:
        tf.errors.InvalidArgumentError: The places differ.
    """
    return library.monolith_checked_weights(
        weights, places, expected, name=name
    )


def sparse_splits(
    values: Sequence[tf.SparseTensor], *, name: str | None = None
) -> list[tf.Tensor]:
    """Makes row splits from the indices of sparse ids.

    Reads and changes no table. Fails with InvalidArgument if the ids are not in
    the order of their rows.

    Args:
        values: Sparse tensors of rank 2, ids in the order of their rows.
        name: Name of the op.

    Returns:
        Per tensor int64 `[rows + 1]`.

    Raises:
        tf.errors.InvalidArgumentError: The ids are not in order.
    """
    return library.monolith_sparse_splits(
        [value.indices for value in values],
        [value.dense_shape for value in values],
        name=name,
    )


def _tables(features, feature_tables) -> list[int]:
    if feature_tables is None:
        return list(range(len(features)))
    return list(feature_tables)


def present(features: Sequence[FeatureBatch], name: str) -> list[tf.Tensor]:
    """Returns the splits or weights of the features that have them."""
    values = [getattr(feature, name) for feature in features]
    return [value for value in values if value is not None]


def list_attributes(features: Sequence[FeatureBatch]) -> dict:
    """Returns the attributes that all ops on features share."""
    return {
        "combiners": [feature.combiner or "none" for feature in features],
        "ns": [feature.max_sequence_length for feature in features],
        "ragged": [feature.splits is not None for feature in features],
    }


tf.no_gradient("MonolithLookup")
tf.no_gradient("MonolithLookupWithExists")
tf.no_gradient("MonolithPartition")
tf.no_gradient("MonolithCombine")
tf.no_gradient("MonolithSparseSplits")
tf.no_gradient("MonolithFillMissing")
