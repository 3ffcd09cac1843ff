"""Conversion of Keras inputs to the ids that ops take, and of vectors back.

Dense, ragged and sparse inputs become ids with or without row splits. The
vectors of the ids get the structure of the input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.feature import FeatureConfig
from monolith_tf.step.backend import LookupBackend

_NO_GRADIENT = (
    "weights of feature {name!r} get no gradient. Pass them through "
    "tf.stop_gradient, or leave them out and multiply the vectors that the "
    "layer gives without a combiner."
)


# Names of the graph in which tf_keras and Keras 3 build a loaded model.
_BUILD_GRAPHS = ("build_graph", "scratch_graph")


def ids_of(value):
    """Returns an input of a layer, with float placeholders as ids.

    To build a subclassed model that was loaded, Keras calls it on placeholders
    of the saved shapes. All of them are floats, and nothing runs; a Keras
    Embedding accepts them as well.

    Args:
        value: Tensor, `tf.RaggedTensor` or `tf.SparseTensor`.
    """
    if not tf.is_tensor(value) or not value.dtype.is_floating:
        return value
    name = getattr(tf.compat.v1.get_default_graph(), "name", "")
    if not name.startswith(_BUILD_GRAPHS):
        return value
    return tf.cast(value, tf.int64)


@dataclasses.dataclass(frozen=True)
class FeatureIds:
    """Ids of a feature in one batch, and the structure of its input.

    Attributes:
        feature: The feature.
        batch: The ids for the ops.
        value: The input: int64 tensor, `tf.RaggedTensor` or `tf.SparseTensor`.
    """

    feature: FeatureConfig
    batch: ops.FeatureBatch
    value: tf.Tensor | tf.RaggedTensor | tf.SparseTensor

    @classmethod
    def of_all(
        cls,
        backend: LookupBackend,
        features: Sequence[FeatureConfig],
        inputs: dict,
        weights: dict,
    ) -> list[FeatureIds]:
        """Checks the inputs of all features and takes them apart.

        Args:
            backend: Backend that the ids are read from.
            features: The features.
            inputs: Feature name to ids.
            weights: Feature name to float32 of the structure of the ids, for
                those features that have weights.

        Returns:
            One for each feature.

        Raises:
            TypeError: An input is not of integers, or weights not of floats.
            ValueError: An input has no batch dimension, or is ragged or sparse
                without an inner dimension; weights have another structure.
        """
        values = [
            _checked_ids(feature, inputs[feature.name]) for feature in features
        ]
        sparse = [v for v in values if isinstance(v, tf.SparseTensor)]
        # One op for all.
        splits = iter(backend.sparse_splits(sparse) if sparse else [])
        batches = []
        for feature, value in zip(features, values, strict=True):
            ids, row_splits = value, None
            if isinstance(value, tf.SparseTensor):
                # Empty cells of a sparse row hold no id.
                ids, row_splits = value.values, next(splits)
            elif isinstance(value, tf.RaggedTensor):
                ids, row_splits = value.flat_values, value.nested_row_splits[-1]
            batch = ops.FeatureBatch(
                ids=ids,
                splits=row_splits,
                weights=_weights(
                    backend, feature, value, weights.get(feature.name)
                ),
                combiner=feature.combiner,
                max_sequence_length=feature.max_sequence_length or 0,
                padding_id=feature.padding_id,
                overrides=feature.overrides,
                default_id=feature.default_id,
            )
            batches.append(batch)
        return [
            cls(feature, _without_gradient(feature, batch), value)
            for feature, batch, value in zip(
                features, backend.fill_missing(batches), values, strict=True
            )
        ]

    def in_structure(self, vectors: tf.Tensor) -> tf.Tensor | tf.RaggedTensor:
        """Gives vectors the structure of the input.

        Args:
            vectors: Output of the ops for `batch`.

        Returns:
            `[..., dim]`: one vector per example (the innermost dimension of the
            input is combined; `[batch]` is one id per example). If the combiner
            is None, one vector per id, zeros for padding.
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


def _weights(
    backend: LookupBackend, feature: FeatureConfig, value, weights
) -> tf.Tensor | None:
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
        flat = _checked_flat(backend, feature, weights, value)
    elif kind is tf.SparseTensor:
        flat = backend.checked_weights(
            weights.values, weights.indices, value.indices
        )
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


def _checked_flat(
    backend: LookupBackend, feature: FeatureConfig, weights, value
) -> tf.Tensor:
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
            flat = backend.checked_weights(
                flat, tf.cast(places, tf.int64), expected
            )
    return flat


def _with_innermost(value: tf.RaggedTensor, vectors: tf.Tensor):
    """Replaces the innermost lists of a ragged tensor by one vector each."""
    if value.values.ragged_rank > 1:
        return value.with_values(_with_innermost(value.values, vectors))
    return value.with_values(vectors)
