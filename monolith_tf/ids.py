"""Makes int64 ids of strings, of combinations, of feature numbers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from monolith_tf.crossed_ids import cross
from monolith_tf.crossed_ids import refuse_symbolic

__all__ = ["cross", "from_strings", "pack"]

FEATURE_BITS = 15
ID_BITS = 48


def from_strings(strings) -> tf.Tensor | tf.RaggedTensor | tf.SparseTensor:
    """Hashes strings to ids (FarmHash Fingerprint64 of the bytes).

    The hash is stable across machines and releases, and made by a stock op
    (`tf.fingerprint`), so that a server without this library computes it too.
    Some two of n different strings share an id with a chance of about
    n^2 / 2^65: 1 in 37 million for a million strings, 1 in 3,700 for a hundred
    million.

    Args:
        strings: string tensor, `tf.RaggedTensor` or `tf.SparseTensor` of any
            shape, or what converts to one.

    Returns:
        int64 of the same shape and kind.

    Raises:
        TypeError: The values are not strings.

    Example:
    >>> from_strings(tf.constant(["a", "movie"])).numpy()
    array([-5528939962900187677,  6863965781205323345])
    """
    if type(strings).__name__ != "KerasTensor":
        # Dense ones do: Keras makes a layer of each stock op.
        refuse_symbolic("from_strings", "StringIds()", [strings])
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
            f"{strings.dtype.name}. Integers are ids as they are; "
            "tf.strings.as_string makes strings of numbers."
        )
    shape = tf.shape(strings)
    hashes = tf.bitcast(tf.fingerprint(tf.reshape(strings, [-1])), tf.int64)
    return tf.ensure_shape(tf.reshape(hashes, shape), strings.shape)


def pack(feature_number: int, ids):
    """Puts a feature's number into its ids, so that features can share a table.

    The number takes bits 48 to 62, the id bits 0 to 47; nothing is hashed or
    cut, so different pairs stay different.

    Args:
        feature_number: Integer from 0 to 32,767.
        ids: int64 tensor, `tf.RaggedTensor` or `tf.SparseTensor` of any shape;
            each id from 0 to 2^48 - 1.

    Returns:
        int64 of the same shape and kind.

    Raises:
        ValueError: The feature number does not fit.
        tf.errors.InvalidArgumentError: An id does not fit.

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
    refuse_symbolic("pack", f"PackedIds({int(feature_number)})", [ids])
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
        "feature a table of its own."
    )
    checks = [
        tf.debugging.assert_non_negative(ids, message=message),
        tf.debugging.assert_less(
            ids, tf.constant(1 << ID_BITS, tf.int64), message=message
        ),
    ]
    with tf.control_dependencies([check for check in checks if check]):
        return ids + tf.constant(int(feature_number) << ID_BITS, tf.int64)
