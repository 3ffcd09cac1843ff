"""The ids of one feature in one batch: what the ops take of an input.

Dense, ragged and sparse inputs become ids with or without row splits;
afterwards the vectors that come back get the structure of the input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.feature import FeatureConfig
from monolith_tf.keras_common.loaded_model_build import ids_of
from monolith_tf.step.backend import current_backend

_NO_GRADIENT = (
    "weights of feature {name!r} get no gradient. Pass them through "
    "tf.stop_gradient, or leave them out and multiply the vectors that the "
    "layer gives without a combiner."
)


@dataclasses.dataclass(frozen=True)
class FeatureIds:
    """Ids of a feature, and how to give vectors their structure.

    Attributes:
        feature: The feature.
        batch: What the ops take.
        value: The input: int64 tensor, `tf.RaggedTensor` or `tf.SparseTensor`.
    """

    feature: FeatureConfig
    batch: ops.FeatureBatch
    value: tf.Tensor | tf.RaggedTensor | tf.SparseTensor

    @classmethod
    def of_all(
        cls, features: Sequence[FeatureConfig], inputs: dict, weights: dict
    ) -> list[FeatureIds]:
        """Checks inputs and takes them apart.

        Args:
            features: The features.
            inputs: Feature name to ids.
            weights: Feature name to float32 of the structure of the ids, for
                those features that have weights.

        Returns:
            One for each feature.

        Raises:
            TypeError: An input does not hold integers, or weights no floats.
            ValueError: An input has no batch dimension, or is ragged or sparse
                without an inner dimension; weights have another structure.
        """
        values = [
            _checked_ids(feature, inputs[feature.name]) for feature in features
        ]
        sparse = [v for v in values if isinstance(v, tf.SparseTensor)]
        # By one op for all.
        splits = iter(_sparse_splits(sparse) if sparse else [])
        batches = []
        for feature, value in zip(features, values, strict=True):
            ids, row_splits = value, None
            if isinstance(value, tf.SparseTensor):
                # Cells of a sparse row that are left out hold no id.
                ids, row_splits = value.values, next(splits)
            elif isinstance(value, tf.RaggedTensor):
                ids, row_splits = value.flat_values, value.nested_row_splits[-1]
            batch = ops.FeatureBatch(
                ids,
                row_splits,
                _weights(feature, value, weights.get(feature.name)),
                feature.combiner,
                feature.n or 0,
                feature.padding_id,
                feature.own_terms,
                feature.default_id,
            )
            batches.append(batch)
        return [
            cls(feature, _without_gradient(feature, batch), value)
            for feature, batch, value in zip(
                features, _fill_missing(batches), values, strict=True
            )
        ]

    def in_structure(self, vectors: tf.Tensor) -> tf.Tensor | tf.RaggedTensor:
        """Gives vectors the structure of the input.

        Args:
            vectors: What the ops gave for `batch`.

        Returns:
            `[..., dim]`: one vector an example (the innermost dimension of the
            input is combined; `[batch]` counts as one id an example), or one an
            id, zeros for padding, when the combiner is None.
        """
        value = self.value
        if isinstance(value, tf.Tensor):
            return vectors
        if self.feature.combiner is None:
            if isinstance(value, tf.SparseTensor):
                value = tf.RaggedTensor.from_row_splits(
                    value.values, self.batch.splits, validate=False
                )
            return value.with_flat_values(vectors)
        if isinstance(value, tf.SparseTensor) or value.ragged_rank == 1:
            if value.shape[0] is None or vectors.shape[0] is not None:
                return vectors
            return tf.ensure_shape(
                vectors, [value.shape[0]] + vectors.shape[1:]
            )
        return _with_innermost(value, vectors)


def _checked_ids(feature: FeatureConfig, value):
    """An input as int64 tensor, ragged or sparse tensor of a fitting rank."""
    if not isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        value = tf.convert_to_tensor(value)
    value = ids_of(value)
    if value.dtype not in (tf.int64, tf.int32):
        raise TypeError(
            f"Feature {feature.name!r} needs int64 ids. Received: dtype "
            f"{value.dtype.name}. Strings become ids by mt.ids.from_strings; "
            "begin a functional or sequential model with "
            "Input(..., dtype='int64')."
        )
    value = tf.cast(value, tf.int64)
    if value.shape.rank == 0:
        raise ValueError(
            f"Feature {feature.name!r} needs ids with a batch dimension, "
            "[batch, ...]. Received: a scalar."
        )
    if isinstance(value, tf.SparseTensor) and value.shape.rank != 2:
        raise ValueError(
            f"Feature {feature.name!r} takes sparse ids of shape "
            f"[batch, length]. Received: shape {value.shape}. Use a "
            "tf.RaggedTensor for more dimensions."
        )
    if isinstance(value, tf.RaggedTensor) and value.flat_values.shape.rank != 1:
        raise ValueError(
            f"Feature {feature.name!r} needs a ragged tensor of ids "
            "whose innermost dimension is ragged. Received: shape "
            f"{value.shape}."
        )
    return value


def _weights(feature: FeatureConfig, value, weights) -> tf.Tensor | None:
    """Checks weights, if there are some, and takes them apart as the ids."""
    if weights is None:
        return None
    kind = tf.Tensor
    for other in (tf.RaggedTensor, tf.SparseTensor):
        if isinstance(value, other):
            kind = other
    if kind is tf.Tensor and not isinstance(
        weights, (tf.RaggedTensor, tf.SparseTensor)
    ):
        weights = tf.convert_to_tensor(weights)
    if not isinstance(weights, kind) or not weights.shape.is_compatible_with(
        value.shape
    ):
        raise ValueError(
            f"Weights of feature {feature.name!r} need the structure of its "
            f"ids, a tf.{kind.__name__} of shape {value.shape}. Received: "
            f"{type(weights).__name__} of shape {weights.shape}."
        )
    if not weights.dtype.is_floating:
        raise TypeError(
            f"Weights of feature {feature.name!r} need dtype float32. "
            f"Received: dtype {weights.dtype.name}."
        )
    weights = tf.cast(weights, tf.float32)
    if kind is tf.RaggedTensor:
        flat = _checked_flat(feature, weights, value)
    elif kind is tf.SparseTensor:
        flat = _checked(weights.values, weights.indices, value.indices)
    else:
        flat = weights
    return flat


def _without_gradient(feature: FeatureConfig, batch: ops.FeatureBatch):
    """Refuses a gradient of weights, if there are some."""
    if batch.weights is None:
        return batch
    weights = tf.raw_ops.PreventGradient(
        input=batch.weights, message=_NO_GRADIENT.format(name=feature.name)
    )
    return dataclasses.replace(batch, weights=weights)


def _checked_flat(feature: FeatureConfig, weights, value) -> tf.Tensor:
    """Flat values of ragged weights."""
    if weights.ragged_rank != value.ragged_rank:
        raise ValueError(
            f"Weights of feature {feature.name!r} need as many ragged "
            f"dimensions as its ids, {value.ragged_rank}. Received: "
            f"{weights.ragged_rank}."
        )
    flat = weights.flat_values
    for places, expected in zip(
        weights.nested_row_splits, value.nested_row_splits, strict=True
    ):
        if places is not expected:
            flat = _checked(flat, tf.cast(places, tf.int64), expected)
    return flat


def _checked(weights, places, expected) -> tf.Tensor:
    if current_backend() is None:
        return ops.checked_weights(weights, places, expected)
    return ops.stock_checked_weights(weights, places, expected)


def _fill_missing(batches) -> list[ops.FeatureBatch]:
    if current_backend() is None:
        return ops.fill_missing(batches)
    return ops.stock_fill_missing(batches)


def _sparse_splits(values) -> list[tf.Tensor]:
    if current_backend() is None:
        return ops.sparse_splits(values)
    return ops.stock_sparse_splits(values)


def _with_innermost(value: tf.RaggedTensor, vectors: tf.Tensor):
    """Replaces the innermost lists of a ragged tensor by one vector each."""
    if value.values.ragged_rank > 1:
        return value.with_values(_with_innermost(value.values, vectors))
    return value.with_values(vectors)
