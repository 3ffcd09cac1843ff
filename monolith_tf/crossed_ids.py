"""Crossed ids: one id for a combination of ids."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.step.backend import IdRead
from monolith_tf.step.backend import note_read
from monolith_tf.stock_ops import hashing


def cross(
    inputs: Sequence, *, salt: int = 0, padding_id: int | None = None
) -> tf.Tensor | tf.RaggedTensor:
    """Makes one id of each combination of an example's ids.

    The combinations of an example take one id of every input, those of the
    first input slowest, as a Cartesian product does. A combination's id is a
    64-bit hash of its ids, in their order, made by stock ops, so that a server
    without this library computes it too (docs/formats.md gives the function).
    Combinations that differ in one id have different crossed ids; some two of n
    distinct combinations share one with a chance of about n^2 / 2^65, 1 in 37
    million for a million.

    Args:
        inputs: Two or more int64 (or int32) inputs of the same batch: tensors
            `[batch]` (one id an example) or `[batch, length]`, or
            `tf.RaggedTensor` or `tf.SparseTensor` `[batch, length]`. Strings
            become ids by `mt.ids.from_strings`.
        salt: Integer from 0 to 2^63 - 1. Crosses that share a table and must
            not share rows take different ones.
        padding_id: The id that fills up short examples of dense inputs, or
            None. Combinations with it have this id too.

    Returns:
        int64: `[batch]` if all inputs are, `[batch, product of lengths]` if all
        are dense, else a `tf.RaggedTensor` `[batch, (combinations)]`.

    Raises:
        TypeError: An input holds no integers, or salt is none.
        ValueError: There are fewer than two inputs, one has another shape, or
            salt or padding_id is out of range.
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
    refuse_symbolic("cross", f"CrossedIds(salt={salt!r})", inputs)
    inputs = [_checked(number, value) for number, value in enumerate(inputs)]
    if len(inputs) < 2:
        raise ValueError(
            "ids.cross needs two or more inputs. Received: "
            f"{len(inputs)}. One input is ids as it is."
        )
    salt = _integer("salt", salt, 0, 1 << 63)
    if padding_id is not None:
        padding_id = _integer("padding_id", padding_id, -(1 << 63), 1 << 63)
        for value in inputs:
            note_read(IdRead("a cross", None, padding_id, value))
    seed = tf.constant(
        hashing.mix64(salt + len(inputs) * hashing.GOLDEN_GAMMA), tf.uint64
    )
    if any(isinstance(value, tf.RaggedTensor) for value in inputs):
        return _cross_ragged(inputs, seed, padding_id)
    return _cross_dense(inputs, seed, padding_id)


def refuse_symbolic(function: str, layer: str, inputs: Sequence) -> None:
    """Refuses the inputs of a functional model with the layer to use.

    Raises:
        TypeError: An input is one.
    """
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
            # An axis of its own, so that broadcasting makes the product.
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
        # For each hash so far, all ids of its example.
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


def _checked(number: int, value):
    if isinstance(value, tf.SparseTensor):
        # Cells that are left out hold no id.
        value = tf.RaggedTensor.from_value_rowids(
            value.values, value.indices[:, 0], nrows=value.dense_shape[0]
        )
    elif not isinstance(value, tf.RaggedTensor):
        value = tf.convert_to_tensor(value)
    if value.dtype not in (tf.int64, tf.int32):
        raise TypeError(
            f"ids.cross needs int64 ids. Received: dtype {value.dtype.name} "
            f"for input {number}. Strings become ids by mt.ids.from_strings."
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


def _integer(name: str, value, low: int, end: int) -> int:
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
