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
    """The ids of one feature in one batch, and what is made of their rows.

    Ids stand in lists, one an example. A list is the innermost dimension of
    dense ids (ids of rank 1 are one list each), or what row splits bound.

    Attributes:
        ids: int64 `[batch, ...]`, or `[m]` with `splits`.
        splits: int64 `[batch + 1]` row splits, or None.
        weights: float32 of the shape of `ids`, or None for ones.
        combiner: "sum", "mean", "sqrtn" or "first_n" makes one vector (first_n:
            `max_sequence_length` vectors) of a list; None keeps one vector per
            id.
        max_sequence_length: Number of ids that first_n keeps; 0 for other
            combiners.
        padding_id: The id that stands for none, or None.
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


def fill_missing(features: Sequence[FeatureBatch]) -> list[FeatureBatch]:
    """Puts the default ids of features where lists have no id but padding.

    Args:
        features: Features, of which some have a default id.

    Returns:
        The features, those with a default id filled. Of a list of padding alone
        the first element is replaced, a list of row splits without elements
        gets one, dense lists of length 0 get length 1. A default id has the
        weight 1. Without a combiner each id is a list.
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
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Makes the ids of each table distinct and splits them by shard.

    Args:
        features: All features of a lookup.
        feature_tables: Which table each feature reads, counted from 0; default
            is one of its own for each.
        num_shards: Number of servers.
        distinct: False leaves duplicates, for a lookup without a gradient. In a
            function the op finds out by itself.

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
) -> list[tf.Tensor]:
    """Makes each feature's vectors of the rows that the shards answered with.

    Args:
        packed: Per shard what `partition` gave.
        shard_rows: Per shard what `lookup` gave.
        positions: Per feature what `partition` gave.
        features: As `partition` got them.
        feature_tables: As `partition` got them.
        dims: Row length of each table.

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
        **list_attributes(features),
    )


def attach(
    anchor: tf.Tensor,
    vectors: tf.Tensor,
    positions: tf.Tensor,
    feature: FeatureBatch,
    *,
    dim: int,
) -> tf.Tensor:
    """Passes vectors on and ties them to a table's zero-row variable.

    Args:
        anchor: The handle of the variable; or its value, float32 `[0, dim]`,
            which in eager execution does not bring the op to its device.
        vectors: What `combine` gave for the feature.
        positions: What `partition` gave for the feature.
        feature: The feature.
        dim: Row length of the table.

    Returns:
        The vectors; their gradient for `anchor` is a `tf.IndexedSlices` with
        the feature's ids as indices.
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
        own_terms=feature.overrides.encode(),
    )


def checked_weights(
    weights: tf.Tensor, places: tf.Tensor, expected: tf.Tensor
) -> tf.Tensor:
    """Passes weights on if they stand where ids stand.

    Args:
        weights: float32 `[m]`.
        places: int64, row splits or sparse indices of the weights.
        expected: The same of the ids.

    Raises:
        tf.errors.InvalidArgumentError: They differ.
    """
    return library.monolith_weights(weights, places, expected)


def sparse_splits(values: Sequence[tf.SparseTensor]) -> list[tf.Tensor]:
    """Makes row splits of sparse tensors of rank 2.

    Args:
        values: Sparse tensors, ids in the order of their rows.

    Returns:
        Per tensor int64 `[rows + 1]`.

    Raises:
        tf.errors.InvalidArgumentError: Ids are not in order.
    """
    return library.monolith_sparse_splits(
        [value.indices for value in values],
        [value.dense_shape for value in values],
    )


def _tables(features, feature_tables) -> list[int]:
    if feature_tables is None:
        return list(range(len(features)))
    return list(feature_tables)


def present(features: Sequence[FeatureBatch], name: str) -> list[tf.Tensor]:
    """Returns what those features have that have it: splits or weights."""
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
