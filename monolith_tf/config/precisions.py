"""Precisions: the storage formats of the weights of a table.

Arithmetic, optimizer slots, checkpoints and results of lookups are float32.
Rounding is stochastic and unbiased, so updates smaller than the distance
between two numbers accumulate. It is also deterministic: a function of id and
step.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from monolith_tf.config.validation import as_integer
from monolith_tf.config.validation import as_number

__all__ = [
    "BFloat16",
    "Float16",
    "Float32",
    "Int8",
    "OneBit",
    "Precision",
    "from_config",
]


class Precision:
    """Base of the precisions; use a subclass.

    Example:
    >>> isinstance(Float16(), Precision)
    True
    """

    kind: ClassVar[str] = ""
    bytes_per_weight: ClassVar[int] = 0

    @property
    def parameters(self) -> tuple[float, ...]:
        """The numbers that the C++ core takes, in its order."""
        return tuple(
            float(getattr(self, field.name))
            for field in dataclasses.fields(self)
        )

    def get_config(self) -> dict[str, float | str]:
        """Returns the config of an equal precision."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class Float32(Precision):
    """Weights as float32: 4 bytes.

    Example:
    >>> Float32().bytes_per_weight
    4
    """

    kind: ClassVar[str] = "float32"
    bytes_per_weight: ClassVar[int] = 4


@dataclasses.dataclass(frozen=True)
class BFloat16(Precision):
    """Weights in 2 bytes: the range of float32, 8 bits of precision.

    Infinities become the largest finite number, 3.39e38.

    Example:
    >>> BFloat16().bytes_per_weight
    2
    """

    kind: ClassVar[str] = "bfloat16"
    bytes_per_weight: ClassVar[int] = 2


@dataclasses.dataclass(frozen=True)
class Float16(Precision):
    """Weights in 2 bytes: 11 bits of precision from 6.1e-5 to 65504.

    Smaller weights are multiples of 2^-24; larger ones become 65504.

    Example:
    >>> Float16().bytes_per_weight
    2
    """

    kind: ClassVar[str] = "float16"
    bytes_per_weight: ClassVar[int] = 2


@dataclasses.dataclass(frozen=True)
class Int8(Precision):
    """Weights in 1 byte: 255 levels, evenly spaced from -range to range.

    Training sees the levels (fake quantization): lookups return them and the
    optimizer works on them. The gradient is a straight-through estimate, but
    zero where it would push a weight out of the range.

    Args:
        range: From 1e-30 to 1e30; larger weights saturate.

    Example:
    >>> Int8(range=0.5).parameters
    (0.5,)
    """

    range: float
    kind: ClassVar[str] = "int8"
    bytes_per_weight: ClassVar[int] = 1

    def __post_init__(self):
        """Checks the range."""
        _check_extent(self, "range")


@dataclasses.dataclass(frozen=True)
class OneBit(Precision):
    """Values that training anneals to `-amplitude` or `amplitude`.

    At step s, a lookup returns `amplitude * tanh(beta * w / amplitude)` for the
    weight w, where `beta = anneal_steps / (anneal_steps - s)`. Gradients are
    those of that value; w is stored in `bytes_per_weight`. From step
    `anneal_steps` on, a lookup returns exactly `amplitude`, or `-amplitude` for
    a weight below zero. An export that begins then stores one bit per weight,
    and so does the served table; an export that begins earlier stores float32.
    Gradients pass straight through for weights up to `amplitude`, so new ids
    still learn.

    The step of a lookup is the number of updates made before it. Update s + 1
    treats its gradients as those of step s, even where a worker read earlier,
    as asynchronous workers and `mt.pipelined` do. A gradient may grow by beta,
    so a gradient beyond `2^48 / beta` is dropped and counted as bad.

    Reference: Cao, Long, Wang, Yu: HashNet: Deep learning to hash by
    continuation, ICCV 2017, equation 5. Its beta grows in stages.

    Args:
        amplitude: From 1e-30 to 1e30.
        anneal_steps: Global step from which there are exactly two values, an
            integer from 1 to 1e15; above 2^24 rounded to 24 bits.
        bytes_per_weight: Storage of w: 2 for bfloat16, or 1 for one of 255
            levels from -amplitude to amplitude, rounded as in `Int8`. With 1,
            no gradient pushes a weight out of its range, and values of the
            first step are within 0.76 * amplitude.

    Example:
    >>> OneBit(amplitude=0.1, anneal_steps=10_000).parameters
    (0.1, 10000.0, 2.0)
    """

    amplitude: float
    anneal_steps: int
    bytes_per_weight: int = 2
    kind: ClassVar[str] = "onebit"

    def __post_init__(self):
        """Checks the numbers."""
        _check_extent(self, "amplitude")
        given = self.anneal_steps
        steps = as_integer(given)
        if steps is None:
            raise TypeError(
                "OneBit needs an int for anneal_steps. Received: "
                f"{given!r} (of type {type(given).__name__})."
            )
        object.__setattr__(self, "anneal_steps", steps)
        if not 1 <= steps <= 10**15:
            raise ValueError(
                "OneBit needs anneal_steps from 1 to 1e15. Received: "
                f"anneal_steps={steps}."
            )
        size = as_integer(self.bytes_per_weight)
        if size not in (1, 2):
            error = TypeError if size is None else ValueError
            raise error(
                "OneBit needs bytes_per_weight=1 or 2. Received: "
                f"bytes_per_weight={self.bytes_per_weight!r}."
            )
        object.__setattr__(self, "bytes_per_weight", size)


def from_config(config: dict) -> Precision:
    """Makes the precision of a config.

    Args:
        config: Result of `get_config`.

    Raises:
        ValueError: The kind is unknown.

    Example:
    >>> from_config(Int8(0.5).get_config())
    Int8(range=0.5)
    """
    config = dict(config)
    kind = config.pop("kind", None)
    for cls in _ALL:
        if cls.kind == kind:
            return cls(**config)
    raise ValueError(
        f"Expected a precision of kind {', '.join(c.kind for c in _ALL)}. "
        f"Received: {kind!r}."
    )


_ALL = (Float32, BFloat16, Float16, Int8, OneBit)


def _check_extent(precision: Precision, field: str) -> None:
    name = type(precision).__name__
    value = getattr(precision, field)
    number = as_number(value)
    if number is None:
        raise TypeError(
            f"{name} needs a number for {field}. Received: {value!r} (of "
            f"type {type(value).__name__})."
        )
    # The core rounds both ends to the same float32.
    if not 1e-30 <= number <= 1e30:
        raise ValueError(
            f"{name} needs {field} from 1e-30 to 1e30. Received: "
            f"{field}={value}."
        )
    object.__setattr__(precision, field, number)
