"""Checks of numbers in configs.

A number is Python's or NumPy's; configs store Python's, which JSON supports.
The C++ core takes them as float32, so a condition must hold in float32 too.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable

import numpy as np

_BOOLS = (bool, np.bool_)
_SMALLEST = float(np.finfo(np.float32).tiny)
_LARGEST = float(np.finfo(np.float32).max)


def as_number(value) -> int | float | None:
    """Returns a real number as Python's, or None for anything else.

    Example:
    >>> as_number(np.float32(0.5)), as_number(3), as_number(True)
    (0.5, 3, None)
    """
    if isinstance(value, _BOOLS):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else None


def as_integer(value) -> int | None:
    """Returns an integer as Python's, or None for anything else.

    Example:
    >>> as_integer(np.int32(7)), as_integer(7.0), as_integer(np.bool_(True))
    (7, None, None)
    """
    if isinstance(value, _BOOLS):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_flag(value) -> bool | None:
    """Returns a truth value as Python's, or None for anything else.

    Example:
    >>> as_flag(np.bool_(True)), as_flag(1)
    (True, None)
    """
    return bool(value) if isinstance(value, _BOOLS) else None


def checked_number(
    owner: str,
    field: str,
    value,
    condition: str | None = None,
    is_right: Callable[[float], bool] = lambda value: True,
    kinds: str = "a number",
) -> int | float:
    """Returns a number that float32 can hold, as Python's.

    Args:
        owner: Owner of the field, for messages: "Adam".
        field: Name of the field.
        value: The value to check.
        condition: The condition as a text: "beta_1 < 1"; None for finite.
        is_right: The condition as a function, called with the number and with
            its float32.
        kinds: The accepted types as a text.

    Raises:
        TypeError: The value is not a number.
        ValueError: The number is not finite, or does not meet the condition as
            given or rounded to float32.

    Example:
    >>> checked_number("Adam", "epsilon", 0.5, "epsilon > 0", lambda x: x > 0)
    0.5
    """
    number = as_number(value)
    if number is None:
        raise TypeError(
            f"{owner} needs {kinds} for {field}. Received: {value!r} (of type "
            f"{type(value).__name__})."
        )
    expected = condition or f"a finite {field}"
    if isinstance(number, float) and not math.isfinite(number):
        both = f", {condition}" if condition else ""
        raise ValueError(
            f"{owner} needs a finite {field}{both}. Received: {field}={value}."
        )
    if not is_right(number):
        raise ValueError(
            f"{owner} needs {expected}. Received: {field}={value}."
        )
    rounded = in_float32(number)
    if not math.isfinite(rounded) or (number and not rounded):
        raise ValueError(
            f"{owner} needs {expected} in float32, the dtype of tables, which "
            f"ranges from {_SMALLEST:.3g} to {_LARGEST:.3g}. Received: "
            f"{field}={value}, in float32 {rounded:g}."
        )
    if not is_right(rounded):
        raise ValueError(
            f"{owner} needs {expected} in float32, the dtype of tables, which "
            f"has about 7 digits. Received: {field}={value}, in float32 "
            f"{rounded:.9g}."
        )
    return number


def in_float32(number: int | float) -> float:
    """Rounds a number as the core does: denormal numbers become 0.

    Example:
    >>> in_float32(0.99999999), in_float32(1e-50), in_float32(10**50)
    (1.0, 0.0, inf)
    """
    if abs(number) > _LARGEST * (1 + 2**-25):
        return math.inf if number > 0 else -math.inf
    rounded = float(np.float32(number))
    # The core flushes denormal numbers to 0.
    return rounded if abs(rounded) >= _SMALLEST else 0.0
