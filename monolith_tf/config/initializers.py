"""Initializers: the rows of ids before their first gradient.

An initial row is a function of the table's seed, its name and the id: the same
before and after insertion, on every machine and number of servers.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from monolith_tf.config import pretrained_rows
from monolith_tf.config.validation import checked_number
from monolith_tf.config.validation import in_float32

__all__ = [
    "Constant",
    "Initializer",
    "Ones",
    "Pretrained",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "from_config",
]


class Initializer:
    """Base of the initializers; use a subclass.

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
        """Returns the config of an equal initializer."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def check_dim(self, dim: int) -> None:
        """Raises ValueError if the initializer does not fit `dim`."""


@dataclasses.dataclass(frozen=True)
class Zeros(Initializer):
    """Rows of zeros.

    Example:
    >>> Zeros().parameters
    ()
    """

    kind: ClassVar[str] = "zeros"


@dataclasses.dataclass(frozen=True)
class Ones(Initializer):
    """Rows of ones.

    Example:
    >>> Ones().parameters
    ()
    """

    kind: ClassVar[str] = "ones"


@dataclasses.dataclass(frozen=True)
class Constant(Initializer):
    """Rows with `value` in each element.

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
        _check_finite(self, "value")


@dataclasses.dataclass(frozen=True)
class RandomUniform(Initializer):
    """Elements drawn uniformly from `[minval, maxval)`, 24 bits each.

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
        _check_finite(self, "minval", "maxval")
        if not self.minval < self.maxval:
            raise ValueError(
                "RandomUniform needs minval < maxval. Received: "
                f"minval={self.minval}, maxval={self.maxval}."
            )
        if math.isinf(in_float32(self.maxval - self.minval)):
            raise ValueError(
                "RandomUniform needs maxval - minval to be finite in float32. "
                f"Received: minval={self.minval}, maxval={self.maxval}."
            )


@dataclasses.dataclass(frozen=True)
class RandomNormal(Initializer):
    """Elements from a normal distribution.

    The quantile function is a rational approximation (docs/formats.md) with a
    relative error below 5e-9, so every machine computes the same bits. No
    element is more than 8.21 standard deviations from the mean.

    Args:
        mean: Finite float.
        stddev: Finite float above 0.

    Example:
    >>> RandomNormal(stddev=0.01).parameters
    (0.0, 0.01)
    """

    mean: float = 0.0
    stddev: float = 0.05
    kind: ClassVar[str] = "normal"

    def __post_init__(self):
        """Checks both numbers."""
        _check_normal(self, reach=9)


@dataclasses.dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Elements from a normal distribution truncated at two deviations.

    The quantile function is a rational approximation (docs/formats.md) with an
    absolute error below 1e-7 standard deviations, so every machine computes the
    same bits.

    Args:
        mean: Finite float.
        stddev: Finite float above 0, of the distribution before truncation.

    Example:
    >>> TruncatedNormal(stddev=0.01).parameters
    (0.0, 0.01)
    """

    mean: float = 0.0
    stddev: float = 0.05
    kind: ClassVar[str] = "truncated_normal"

    def __post_init__(self):
        """Checks both numbers."""
        _check_normal(self, reach=2)


@dataclasses.dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Elements of mean 0 and variance `scale / dim`.

    Like `tf.keras.initializers.VarianceScaling` with the length of the row (or
    of its segment) as the fan: the number of rows of a table is unknown.

    Args:
        scale: Finite float above 0.
        mode: One of `"fan_in"`, `"fan_out"`, `"fan_avg"`, for configs of Keras.
            All mean `dim`.
        distribution: One of `"truncated_normal"` (truncated at two deviations
            of the full distribution), `"untruncated_normal"`, `"uniform"`.

    Example:
    >>> VarianceScaling(2.0, distribution="uniform").parameters
    (2.0, 2.0)
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    kind: ClassVar[str] = "variance_scaling"

    # The index of a distribution is its number in the C++ core.
    DISTRIBUTIONS: ClassVar[tuple[str, ...]] = (
        "truncated_normal",
        "untruncated_normal",
        "uniform",
    )

    def __post_init__(self):
        """Checks every argument."""
        _check_positive(self, "scale")
        _check_one_of(
            "VarianceScaling",
            ("fan_in", "fan_out", "fan_avg"),
            mode=self.mode,
        )
        _check_one_of(
            "VarianceScaling",
            self.DISTRIBUTIONS,
            distribution=self.distribution,
        )

    @property
    def parameters(self) -> tuple[float, ...]:
        """The scale and the number of the distribution."""
        number = self.DISTRIBUTIONS.index(self.distribution)
        return (float(self.scale), float(number))


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class Pretrained(Initializer):
    """Pretrained rows for some ids, and `otherwise` for all other ids.

    They are initial rows like any others: an id reads its row before it is in
    the table, the first gradient inserts it, and an evicted id starts from it
    again. They take `8 + 4 dim` bytes per row outside of the table, and about 8
    more for the index.

    Args:
        ids: Integers `[n]`, n >= 1, distinct.
        rows: Finite floats `[n, dim]`, with the dim of the table or segment.
        otherwise: Initializer of the ids that are not in `ids`. Default:
            RandomUniform.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A shape or a value is wrong.

    Example:
    >>> initializer = Pretrained([7, 9], [[0.5, 1.0], [2.0, 3.0]], Zeros())
    >>> initializer
    Pretrained(<2 rows of dim 2>, otherwise=Zeros())
    >>> from_config(initializer.get_config()) == initializer
    True
    """

    pretrained: pretrained_rows.PretrainedRows
    otherwise: Initializer

    def __init__(self, ids, rows, otherwise: Initializer | None = None):
        """Checks every argument."""
        self._set(pretrained_rows.PretrainedRows(ids, rows), otherwise)

    @classmethod
    def from_file(
        cls, path, otherwise: Initializer | None = None
    ) -> Pretrained:
        """Reads ids and rows from a NumPy file.

        `get_config` then contains the path and a digest instead of the rows,
        so loading the config needs the same file at the same path.

        Args:
            path: File of `np.savez(path, ids=ids, rows=rows)`.
            otherwise: Initializer of all other ids.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file does not contain valid ids and rows.
        """
        return cls._of(
            pretrained_rows.PretrainedRows.from_file(path), otherwise
        )

    @property
    def kind(self) -> str:
        """The kind of `otherwise`, by which the C++ core makes other rows."""
        return self.otherwise.kind

    @property
    def parameters(self) -> tuple[float, ...]:
        """The numbers of `otherwise`."""
        return self.otherwise.parameters

    @property
    def ids(self):
        """int64 `[n]`, ascending."""
        return self.pretrained.ids

    @property
    def rows(self):
        """float32 `[n, dim]` in the order of `ids`."""
        return self.pretrained.rows

    def get_config(self) -> dict:
        """Returns the config of an equal initializer."""
        return {
            "kind": "pretrained",
            **self.pretrained.get_config(),
            "otherwise": self.otherwise.get_config(),
        }

    def check_dim(self, dim: int) -> None:
        """Raises ValueError if the rows do not have `dim` floats."""
        if self.pretrained.dim != dim:
            raise ValueError(
                f"Pretrained rows of dim {self.pretrained.dim} do not fit a "
                f"table or segment of dim {dim}. Pass rows [n, {dim}]."
            )

    def __repr__(self) -> str:
        """Returns the size instead of the rows."""
        return f"Pretrained({self.pretrained}, otherwise={self.otherwise})"

    @classmethod
    def _of(cls, pretrained, otherwise) -> Pretrained:
        initializer = cls.__new__(cls)
        initializer._set(pretrained, otherwise)
        return initializer

    def _set(self, pretrained, otherwise) -> None:
        if otherwise is None:
            otherwise = RandomUniform()
        if not isinstance(otherwise, Initializer):
            raise TypeError(
                "Pretrained needs one of mt.initializers for otherwise. "
                f"Received: {otherwise!r} (of type {type(otherwise).__name__})."
            )
        if isinstance(otherwise, Pretrained):
            raise ValueError(
                "Pretrained does not support another Pretrained as otherwise. "
                f"Received: {otherwise!r}. Concatenate ids and rows."
            )
        object.__setattr__(self, "pretrained", pretrained)
        object.__setattr__(self, "otherwise", otherwise)


def from_config(config: dict) -> Initializer:
    """Makes the initializer of a config.

    Args:
        config: Result of `get_config`.

    Raises:
        ValueError: The kind is unknown.

    Example:
    >>> from_config(Constant(0.5).get_config())
    Constant(value=0.5)
    """
    config = dict(config)
    kind = config.pop("kind", None)
    if kind == "pretrained":
        otherwise = from_config(config.pop("otherwise"))
        rows = pretrained_rows.PretrainedRows.from_config(config)
        return Pretrained._of(rows, otherwise)
    for cls in _SIMPLE:
        if cls.kind == kind:
            return cls(**config)
    raise ValueError(
        "Expected an initializer of kind "
        f"{', '.join(cls.kind for cls in _SIMPLE)}, pretrained. Received: "
        f"{kind!r}."
    )


_SIMPLE = (
    *(Zeros, Ones, Constant),
    *(RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling),
)


def _check_finite(initializer: Initializer, *fields: str) -> None:
    name = type(initializer).__name__
    for field in fields:
        number = checked_number(name, field, getattr(initializer, field))
        object.__setattr__(initializer, field, number)


def _check_positive(initializer: Initializer, field: str) -> None:
    number = checked_number(
        type(initializer).__name__,
        field,
        getattr(initializer, field),
        f"{field} > 0",
        lambda value: value > 0,
    )
    object.__setattr__(initializer, field, number)


def _check_normal(
    initializer: RandomNormal | TruncatedNormal, reach: int
) -> None:
    """Checks both numbers; elements are within `reach` deviations."""
    _check_finite(initializer, "mean")
    _check_positive(initializer, "stddev")
    mean, stddev = initializer.mean, initializer.stddev
    if math.isinf(in_float32(abs(mean) + reach * stddev)):
        raise ValueError(
            f"{type(initializer).__name__} needs a mean + {reach} stddev that "
            f"is finite in float32. Received: mean={mean}, stddev={stddev}."
        )


def _check_one_of(name: str, choices: tuple[str, ...], **texts: str) -> None:
    for key, text in texts.items():
        if text not in choices:
            raise ValueError(
                f"{name} needs one of {', '.join(choices)} for {key}. "
                f"Received: {key}={text!r}."
            )
