"""Ops on floats that travel in 16-bit words."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.ops.library import library


def narrow(
    floats: tf.Tensor, *, wire_format: str, num_exact: int = 0
) -> tf.Tensor:
    """Writes floats as 16-bit words, rounded to nearest.

    Args:
        floats: float32 `[n]`.
        wire_format: "bfloat16" or "float16". A finite float beyond what it
            holds becomes the largest it holds.
        num_exact: How many floats at the beginning keep all their bits.

    Returns:
        uint16 `[n + num_exact]`.
    """
    return library.monolith_narrow(
        floats, format=wire_format, num_exact=num_exact
    )


def widen(
    words: tf.Tensor, *, wire_format: str, num_exact: int = 0
) -> tf.Tensor:
    """Reads what `narrow` wrote with the same arguments.

    Args:
        words: uint16 `[m]`.
        wire_format: "bfloat16" or "float16".
        num_exact: How many floats at the beginning kept all their bits.

    Returns:
        float32 `[m - num_exact]`.

    Raises:
        tf.errors.InvalidArgumentError: There are fewer words than
            `2 * num_exact`.
    """
    return library.monolith_widen(
        words, format=wire_format, num_exact=num_exact
    )


tf.no_gradient("MonolithNarrow")
tf.no_gradient("MonolithWiden")
