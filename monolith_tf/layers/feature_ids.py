"""The ids of one feature in one batch: flat, with what it takes to combine.

Dense, ragged and sparse inputs of any leading shape become one vector of ids
without padding; afterwards rows of that vector become the feature's output.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from monolith_tf.feature import Feature


@dataclasses.dataclass(frozen=True)
class FeatureIds:
    """Ids of a feature, and how to put vectors in their places.

    Attributes:
        feature: The feature.
        ids: int64 `[n]`, what the table is asked for; no padding.
        valid: bool `[m]` for the m flat positions of the input, which of them
            hold an id that is not padding; None if all do.
        value: The input: int64 tensor or `tf.RaggedTensor`.
    """

    feature: Feature
    ids: tf.Tensor
    valid: tf.Tensor | None
    value: tf.Tensor | tf.RaggedTensor

    @classmethod
    def of(cls, feature: Feature, value) -> FeatureIds:
        """Checks an input and flattens it.

        Raises:
            TypeError: It does not hold integers.
            ValueError: It has no batch dimension, or is ragged or sparse
                without an inner dimension.
        """
        if isinstance(value, tf.SparseTensor):
            value = _ragged(feature, value)
        if not isinstance(value, tf.RaggedTensor):
            value = tf.convert_to_tensor(value)
        if value.dtype not in (tf.int64, tf.int32):
            raise TypeError(
                f"Feature {feature.name!r} needs int64 ids. Received: dtype "
                f"{value.dtype.name}. Strings become ids by "
                "mt.ids.from_strings; in a functional model say "
                "Input(..., dtype='int64')."
            )
        value = tf.cast(value, tf.int64)
        if value.shape.rank == 0:
            raise ValueError(
                f"Feature {feature.name!r} needs ids with a batch dimension, "
                "[batch, ...]. Received: a scalar."
            )
        if isinstance(value, tf.RaggedTensor):
            flat = value.flat_values
            if flat.shape.rank != 1:
                raise ValueError(
                    f"Feature {feature.name!r} needs a ragged tensor of ids "
                    "whose innermost dimension is ragged. Received: shape "
                    f"{value.shape}."
                )
        else:
            flat = tf.reshape(value, [-1])
        if feature.padding_id is None:
            return cls(feature, flat, None, value)
        valid = tf.not_equal(flat, tf.constant(feature.padding_id, tf.int64))
        return cls(feature, tf.boolean_mask(flat, valid), valid, value)

    def vectors(self, rows: tf.Tensor) -> tf.Tensor | tf.RaggedTensor:
        """Makes the feature's output of the rows of its ids.

        Args:
            rows: float `[n, dim]`.

        Returns:
            `[..., dim]`: one vector an example (the innermost dimension of the
            input is combined; `[batch]` counts as one id an example), or one an
            id, zeros for padding, when the combiner is None.
        """
        dim = rows.shape[-1]
        if self.feature.combiner is None:
            spread = self._spread(rows)
            if isinstance(self.value, tf.RaggedTensor):
                return self.value.with_flat_values(spread)
            shape = tf.concat([tf.shape(self.value), [dim]], axis=0)
            return tf.ensure_shape(
                tf.reshape(spread, shape), self.value.shape + [dim]
            )
        return self._combine(rows, dim)

    def _spread(self, rows: tf.Tensor) -> tf.Tensor:
        """Puts rows where their ids stand and zeros where padding stands."""
        if self.valid is None:
            return rows
        positions = tf.cumsum(tf.cast(self.valid, tf.int32)) - 1
        num_rows = tf.shape(rows)[0]
        # One more row, of zeros, for the padding to read.
        padded = tf.pad(rows, [[0, 1], [0, 0]])
        return tf.gather(padded, tf.where(self.valid, positions, num_rows))

    def _combine(self, rows: tf.Tensor, dim: int):
        value = self.value
        if isinstance(value, tf.RaggedTensor):
            inner = value
            while inner.ragged_rank > 1:
                inner = inner.values
            segments = inner.value_rowids()
            num_segments = inner.nrows()
        else:
            if value.shape.rank == 1:
                value = value[:, tf.newaxis]
            length = tf.shape(value, out_type=tf.int64)[-1]
            num_segments = tf.reduce_prod(
                tf.shape(value, out_type=tf.int64)[:-1]
            )
            segments = tf.repeat(
                tf.range(num_segments), tf.repeat(length, num_segments)
            )
        if self.valid is not None:
            segments = tf.boolean_mask(segments, self.valid)
        combined = tf.math.unsorted_segment_sum(rows, segments, num_segments)
        if self.feature.combiner in ("mean", "sqrtn"):
            count = tf.math.unsorted_segment_sum(
                tf.ones_like(segments, rows.dtype), segments, num_segments
            )
            if self.feature.combiner == "sqrtn":
                count = tf.sqrt(count)
            combined = tf.math.divide_no_nan(combined, count[:, tf.newaxis])
        if not isinstance(value, tf.RaggedTensor):
            shape = tf.concat([tf.shape(value)[:-1], [dim]], axis=0)
            return tf.ensure_shape(
                tf.reshape(combined, shape), value.shape[:-1] + [dim]
            )
        if value.ragged_rank == 1:
            return tf.ensure_shape(combined, [value.shape[0], dim])
        return _with_innermost(value, combined)


def _ragged(feature: Feature, value: tf.SparseTensor) -> tf.RaggedTensor:
    if value.shape.rank != 2:
        raise ValueError(
            f"Feature {feature.name!r} takes sparse ids of shape "
            f"[batch, length]. Received: shape {value.shape}. Use a "
            "tf.RaggedTensor for more dimensions."
        )
    # Cells of a sparse row that are left out hold no id.
    return tf.RaggedTensor.from_value_rowids(
        value.values,
        value.indices[:, 0],
        nrows=value.dense_shape[0],
        validate=False,
    )


def _with_innermost(value: tf.RaggedTensor, combined: tf.Tensor):
    """Replaces the innermost lists of a ragged tensor by one vector each."""
    if value.values.ragged_rank > 1:
        return value.with_values(_with_innermost(value.values, combined))
    return value.with_values(combined)
