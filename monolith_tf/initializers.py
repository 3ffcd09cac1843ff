"""Initial rows of a table: what an id reads before its first gradient.

An initial row is a function of the table's seed, its name and the id: the same
before and after the row is inserted, on every machine and number of servers.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

__all__ = [
    "Constant",
    "Initializer",
    "RandomUniform",
    "TruncatedNormal",
    "Zeros",
    "from_config",
]


class Initializer:
    """Base of the initializers; make one of the children.

    Example:
    >>> isinstance(Zeros(), Initializer)
    True
    """

    kind: ClassVar[str] = ""

    @property
    def parameters(self) -> tuple[float, ...]:
        """The numbers that the C++ core takes, in its order."""
        return tuple(
            float(getattr(self, field.name))
            for field in dataclasses.fields(self)
        )

    def get_config(self) -> dict[str, float | str]:
        """Returns what `from_config` makes an equal initializer of."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class Zeros(Initializer):
    """Rows of zeros.

    Example:
    >>> Zeros().parameters
    ()
    """

    kind: ClassVar[str] = "zeros"


@dataclasses.dataclass(frozen=True)
class Constant(Initializer):
    """Rows whose every element is `value`.

    Args:
        value: Finite float.

    Example:
    >>> Constant(0.5).parameters
    (0.5,)
    """

    value: float
    kind: ClassVar[str] = "constant"

    def __post_init__(self):
        """Checks the value."""
        _check_finite("Constant", value=self.value)


@dataclasses.dataclass(frozen=True)
class RandomUniform(Initializer):
    """Elements drawn evenly from `[minval, maxval)`, 24 bits each.

    Args:
        minval: Finite float, the lower end.
        maxval: Finite float above `minval`.

    Example:
    >>> RandomUniform(-0.05, 0.05).parameters
    (-0.05, 0.05)
    """

    minval: float = -0.05
    maxval: float = 0.05
    kind: ClassVar[str] = "uniform"

    def __post_init__(self):
        """Checks both ends."""
        _check_finite("RandomUniform", minval=self.minval, maxval=self.maxval)
        if not self.minval < self.maxval:
            raise ValueError(
                "RandomUniform needs minval < maxval. Received: "
                f"minval={self.minval}, maxval={self.maxval}."
            )


@dataclasses.dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Elements from a normal distribution cut at two standard deviations.

    The quantile function is a rational approximation (docs/formats.md) with an
    absolute error below 1e-7 standard deviations, so that every machine
    computes the same bits.

    Args:
        mean: Finite float.
        stddev: Finite float above 0, of the distribution before it is cut.

    Example:
    >>> TruncatedNormal(stddev=0.01).parameters
    (0.0, 0.01)
    """

    mean: float = 0.0
    stddev: float = 0.05
    kind: ClassVar[str] = "truncated_normal"

    def __post_init__(self):
        """Checks both numbers."""
        _check_finite("TruncatedNormal", mean=self.mean, stddev=self.stddev)
        if not self.stddev > 0:
            raise ValueError(
                "TruncatedNormal needs stddev > 0. Received: "
                f"stddev={self.stddev}."
            )


def from_config(config: dict) -> Initializer:
    """Makes the initializer that `get_config` described.

    Raises:
        ValueError: The kind is not known.

    Example:
    >>> from_config(Constant(0.5).get_config())
    Constant(value=0.5)
    """
    config = dict(config)
    kind = config.pop("kind", None)
    for cls in (Zeros, Constant, RandomUniform, TruncatedNormal):
        if cls.kind == kind:
            return cls(**config)
    raise ValueError(
        "An initializer's kind is one of zeros, constant, uniform, "
        f"truncated_normal. Received: {kind!r}."
    )


def _check_finite(name: str, **numbers: float) -> None:
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(
                f"{name} needs a number for {key}. Received: {value!r} (of "
                f"type {type(value).__name__})."
            )
        if not math.isfinite(value):
            raise ValueError(
                f"{name} needs a finite {key}. Received: {key}={value}."
            )
