"""Ops on floats that travel as 16-bit words."""

from __future__ import annotations

import tensorflow as tf

from monolith_tf.ops.library import library


def narrow(
    floats: tf.Tensor,
    *,
    wire_format: str,
    num_exact: int = 0,
    name: str | None = None,
) -> tf.Tensor:
    """Rounds floats to 16-bit words, each to the nearest.

    A finite float beyond the range of the format becomes its largest finite
    number, with the same sign. Words keep the order of the floats.

    Args:
        floats: float32 `[n]`.
        wire_format: "bfloat16" or "float16".
        num_exact: The number of floats at the beginning that keep all bits.
        name: Name of the op.

    Returns:
        uint16 `[n + num_exact]`.
    """
    return library.monolith_narrow(
        floats, format=wire_format, num_exact=num_exact, name=name
    )


def widen(
    words: tf.Tensor,
    *,
    wire_format: str,
    num_exact: int = 0,
    name: str | None = None,
) -> tf.Tensor:
    """Reads the floats that `narrow` wrote with the same arguments.

    Floats keep the order of the words.

    Args:
        words: uint16 `[m]`.
        wire_format: "bfloat16" or "float16".
        num_exact: The number of floats at the beginning that kept all bits.
        name: Name of the op.

    Returns:
        float32 `[m - num_exact]`.

    Raises:
        tf.errors.InvalidArgumentError: There are fewer words than
            `2 * num_exact`.
    """
    return library.monolith_widen(
        words, format=wire_format, num_exact=num_exact, name=name
    )


tf.no_gradient("MonolithNarrow")
tf.no_gradient("MonolithWiden")
