"""Ids of strings, of combinations of ids, and of numbered features."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from monolith_tf.stock_ops import hashing
from monolith_tf.stock_ops.id_reads import IdRead
from monolith_tf.stock_ops.id_reads import current_reads

__all__ = ["cross", "from_strings", "pack"]

FEATURE_BITS = 15
ID_BITS = 48


def from_strings(strings) -> tf.Tensor | tf.RaggedTensor | tf.SparseTensor:
    """Hashes strings to ids (FarmHash Fingerprint64 of the bytes).

    The hash is stable across machines and releases. A stock op computes it
    (`tf.fingerprint`), so a server without this library does too. Among n
    different strings, the probability that any two share an id is about
    n^2 / 2^65: 1 in 37 million for a million strings, 1 in 3,700 for a hundred
    million.

    Args:
        strings: String tensor, `tf.RaggedTensor` or `tf.SparseTensor` of any
            shape, or a value that converts to one.

    Returns:
        int64 of the same shape and kind.

    Raises:
        TypeError: The values are not strings.

    Example:
    >>> from_strings(tf.constant(["a", "movie"])).numpy()
    array([-5528939962900187677,  6863965781205323345])
    """
    if type(strings).__name__ != "KerasTensor":
        # Dense ones work: Keras wraps each stock op in a layer.
        _refuse_symbolic("from_strings", "StringIds()", [strings])
    if isinstance(strings, tf.RaggedTensor):
        return strings.with_flat_values(from_strings(strings.flat_values))
    if isinstance(strings, tf.SparseTensor):
        return tf.SparseTensor(
            strings.indices, from_strings(strings.values), strings.dense_shape
        )
    strings = tf.convert_to_tensor(strings)
    if strings.dtype != tf.string:
        raise TypeError(
            "ids.from_strings needs strings. Received: a tensor of dtype "
            f"{strings.dtype.name}. Use integers as ids directly; "
            "tf.strings.as_string converts numbers to strings."
        )
    shape = tf.shape(strings)
    hashes = tf.bitcast(tf.fingerprint(tf.reshape(strings, [-1])), tf.int64)
    return tf.ensure_shape(tf.reshape(hashes, shape), strings.shape)


def pack(feature_number: int, ids):
    """Packs a feature's number into its ids, so that features share a table.

    The number takes bits 48 to 62, the id bits 0 to 47. Nothing is hashed or
    truncated, so different pairs have different ids.

    Args:
        feature_number: Integer from 0 to 32,767.
        ids: int64 tensor, `tf.RaggedTensor` or `tf.SparseTensor` of any shape;
            each id from 0 to 2^48 - 1.

    Returns:
        int64 of the same shape and kind.

    Raises:
        TypeError: The feature number is not an integer, or the ids are not.
        ValueError: The feature number is out of range.
        tf.errors.InvalidArgumentError: An id is out of range.

    Example:
    >>> pack(2, tf.constant([5], tf.int64)).numpy()
    array([562949953421317])
    """
    if isinstance(feature_number, bool) or not isinstance(
        feature_number, (int, np.integer)
    ):
        raise TypeError(
            "ids.pack needs an integer feature_number. Received: "
            f"{feature_number!r} (of type {type(feature_number).__name__})."
        )
    if not 0 <= feature_number < 1 << FEATURE_BITS:
        raise ValueError(
            f"ids.pack needs a feature_number from 0 to "
            f"{(1 << FEATURE_BITS) - 1}. Received: {feature_number}."
        )
    _refuse_symbolic("pack", f"PackedIds({int(feature_number)})", [ids])
    if isinstance(ids, tf.RaggedTensor):
        return ids.with_flat_values(pack(feature_number, ids.flat_values))
    if isinstance(ids, tf.SparseTensor):
        return tf.SparseTensor(
            ids.indices, pack(feature_number, ids.values), ids.dense_shape
        )
    ids = tf.convert_to_tensor(ids)
    if ids.dtype not in (tf.int64, tf.int32):
        raise TypeError(
            f"ids.pack needs int64 ids. Received: dtype {ids.dtype.name}."
        )
    ids = tf.cast(ids, tf.int64)
    message = (
        f"ids.pack needs ids from 0 to 2^{ID_BITS} - 1, because the feature "
        "number takes the bits above. Hash or renumber larger ids, or give the "
        "feature its own table."
    )
    checks = [
        tf.debugging.assert_non_negative(ids, message=message),
        tf.debugging.assert_less(
            ids, tf.constant(1 << ID_BITS, tf.int64), message=message
        ),
    ]
    with tf.control_dependencies([check for check in checks if check]):
        return ids + tf.constant(int(feature_number) << ID_BITS, tf.int64)


def cross(
    inputs: Sequence, *, salt: int = 0, padding_id: int | None = None
) -> tf.Tensor | tf.RaggedTensor:
    """Makes one id per combination of an example's ids.

    The combinations of an example are the Cartesian product of its ids, with
    the ids of the first input varying slowest. The id of a combination is a
    64-bit hash of its ids in order. Stock ops compute it, so a server without
    this library does too (docs/formats.md gives the function). Combinations
    that differ in a single id never collide. Among n distinct combinations, the
    probability that any two share an id is about n^2 / 2^65, 1 in 37 million
    for a million.

    Args:
        inputs: Two or more int64 (or int32) inputs of the same batch: tensors
            `[batch]` (one id per example) or `[batch, length]`, or
            `tf.RaggedTensor` or `tf.SparseTensor` `[batch, length]`.
            `mt.ids.from_strings` converts strings.
        salt: Integer from 0 to 2^63 - 1. Crosses that share a table but not
            their rows need different salts.
        padding_id: The id that fills short examples of dense inputs, or None.
            The id of any combination that contains it is `padding_id`.

    Returns:
        int64: `[batch]` if all inputs are `[batch]`,
        `[batch, product of lengths]` if all are dense, else a
        `tf.RaggedTensor` `[batch, (combinations)]`.

    Raises:
        TypeError: An input, `salt` or `padding_id` does not hold integers.
        ValueError: There are fewer than two inputs, an input has another shape,
            or `salt` or `padding_id` is out of range.
        tf.errors.InvalidArgumentError: The inputs have different batch sizes.

    Example:
    >>> import monolith_tf as mt
    >>> user = tf.constant([7, 8], tf.int64)
    >>> genres = tf.ragged.constant([[1, 2], []], tf.int64)
    >>> crossed = mt.ids.cross([user, genres])
    >>> crossed.row_lengths().numpy()
    array([2, 0])
    >>> bool(crossed[0, 0] == mt.ids.cross([user[:1], genres[0, :1]])[0])
    True
    """
    _refuse_symbolic("cross", f"CrossedIds(salt={salt!r})", inputs)
    inputs = [
        _checked_input(number, value) for number, value in enumerate(inputs)
    ]
    if len(inputs) < 2:
        raise ValueError(
            "ids.cross needs two or more inputs. Received: "
            f"{len(inputs)}. A single input needs no cross."
        )
    salt = _checked_integer("salt", salt, 0, 1 << 63)
    if padding_id is not None:
        padding_id = _checked_integer(
            "padding_id", padding_id, -(1 << 63), 1 << 63
        )
        reads = current_reads()
        if reads is not None:
            reads += [
                IdRead("a cross", None, padding_id, value) for value in inputs
            ]
    seed = tf.constant(
        hashing.mix64(salt + len(inputs) * hashing.GOLDEN_GAMMA), tf.uint64
    )
    if any(isinstance(value, tf.RaggedTensor) for value in inputs):
        return _cross_ragged(inputs, seed, padding_id)
    return _cross_dense(inputs, seed, padding_id)


def _refuse_symbolic(function: str, layer: str, inputs: Sequence) -> None:
    """Rejects the symbolic inputs of a functional model; names the layer."""
    for value in inputs:
        if type(value).__name__.endswith("KerasTensor"):
            raise TypeError(
                f"ids.{function} takes tensors; in a functional model use "
                f"mt.layers.{layer}(inputs). Received: {value!r}."
            )


def _cross_dense(inputs, seed, padding_id) -> tf.Tensor:
    batch_size = tf.shape(inputs[0])[0]
    checks = [
        _same_batch(batch_size, tf.shape(value)[0]) for value in inputs[1:]
    ]
    is_vector = all(value.shape.rank == 1 for value in inputs)
    hashes, is_padding = seed, False
    for number, value in enumerate(inputs):
        if not is_vector:
            # One axis per input, so that broadcasting makes the product.
            length = 1 if value.shape.rank == 1 else tf.shape(value)[1]
            axes = [1] * len(inputs)
            axes[number] = length
            value = tf.reshape(value, [batch_size, *axes])
        hashes = _next_hash(hashes, value)
        if padding_id is not None:
            is_padding |= value == padding_id
    with tf.control_dependencies([check for check in checks if check]):
        found = _ids(hashes, is_padding, padding_id)
    if is_vector:
        return found
    lengths = [1 if v.shape.rank == 1 else v.shape[1] for v in inputs]
    found = tf.reshape(found, [batch_size, tf.reduce_prod(tf.shape(found)[1:])])
    return tf.ensure_shape(
        found,
        [
            inputs[0].shape[0],
            None if None in lengths else math.prod(lengths),
        ],
    )


def _cross_ragged(inputs, seed, padding_id) -> tf.RaggedTensor:
    first, *others = [_as_ragged(value) for value in inputs]
    hashes = first.with_values(_next_hash(seed, first.values))
    is_padding = first.values == padding_id if padding_id is not None else None
    for value in others:
        check = _same_batch(hashes.nrows(), value.nrows())
        with tf.control_dependencies([check] if check else []):
            rows = hashes.value_rowids()
        lengths = value.row_lengths()
        times = tf.gather(lengths, rows)
        # Per hash so far, all ids of its example.
        starts = tf.gather(value.row_starts(), rows)
        ids = tf.gather(
            value.values, tf.ragged.range(starts, starts + times).values
        )
        if padding_id is not None:
            is_padding = tf.repeat(is_padding, times) | (ids == padding_id)
        hashes = tf.RaggedTensor.from_row_lengths(
            _next_hash(tf.repeat(hashes.values, times), ids),
            hashes.row_lengths() * lengths,
            validate=False,
        )
    return hashes.with_values(_ids(hashes.values, is_padding, padding_id))


def _next_hash(hashes: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    return hashing.mix64_tensor(hashes + hashing.as_uint64(ids))


def _ids(hashes, is_padding, padding_id) -> tf.Tensor:
    found = tf.bitcast(hashes, tf.int64)
    if padding_id is None:
        return found
    return tf.where(is_padding, tf.constant(padding_id, tf.int64), found)


def _same_batch(expected, found):
    return tf.debugging.assert_equal(
        tf.cast(expected, tf.int64),
        tf.cast(found, tf.int64),
        message="ids.cross needs inputs of the same batch size.",
    )


def _as_ragged(value) -> tf.RaggedTensor:
    if isinstance(value, tf.RaggedTensor):
        return value
    if value.shape.rank == 1:
        value = value[:, tf.newaxis]
    return tf.RaggedTensor.from_tensor(value)


def _checked_input(number: int, value):
    if isinstance(value, tf.SparseTensor):
        # Missing cells hold no id.
        value = tf.RaggedTensor.from_value_rowids(
            value.values, value.indices[:, 0], nrows=value.dense_shape[0]
        )
    elif not isinstance(value, tf.RaggedTensor):
        value = tf.convert_to_tensor(value)
    if value.dtype not in (tf.int64, tf.int32):
        raise TypeError(
            f"ids.cross needs int64 ids. Received: dtype {value.dtype.name} "
            f"for input {number}. Convert strings by mt.ids.from_strings."
        )
    is_ragged = isinstance(value, tf.RaggedTensor)
    if value.shape.rank not in ((2,) if is_ragged else (1, 2)) or (
        is_ragged and value.flat_values.shape.rank != 1
    ):
        raise ValueError(
            "ids.cross takes inputs of shape [batch] or [batch, length]. "
            f"Received: shape {value.shape} for input {number}."
        )
    return tf.cast(value, tf.int64)


def _checked_integer(name: str, value, low: int, end: int) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        value = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} of ids.cross must be an integer. Received: {value!r}."
        ) from None
    if not low <= value < end:
        raise ValueError(
            f"{name} of ids.cross must be in [{low}, {end}). Received: {value}."
        )
    return value
