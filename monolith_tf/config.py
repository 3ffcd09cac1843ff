"""The config of a table."""

from __future__ import annotations

import dataclasses
import operator

from monolith_tf import initializers
from monolith_tf import row_optimizers


@dataclasses.dataclass(frozen=True, eq=False)
class TableConfig:
    """What a table is like: its name, the length of its rows, its optimizer.

    A config *object* stands for one table: features, layers and `mt.Table`s
    that are given the same object share the table and its rows. Two objects are
    two tables, even when they are alike (`same_as` compares the contents); a
    model holds at most one table of a name.

    Args:
        name: Non-empty text. Initial rows, checkpoints, exports and deltas go
        by it.
        dim: Length of a row, 1 to 65,536 floats.
        optimizer: One of `mt.optimizers.SGD`, `Adagrad`, `Adam`, ...; the
            table's own, whatever optimizer the model is compiled with.
        initializer: One of `mt.initializers`; what an id reads before its first
            gradient.
        seed: Integer from 0 to 2^64 - 1; initial rows depend on it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has a value out of range.

    Example:
    >>> import monolith_tf as mt
    >>> config = mt.TableConfig(
    ...     name="movie", dim=16,
    ...     optimizer=mt.optimizers.Adagrad(learning_rate=0.05),
    ...     initializer=mt.initializers.RandomUniform(-0.05, 0.05), seed=7)
    >>> config.row_width
    32
    """

    name: str
    dim: int
    optimizer: row_optimizers.RowOptimizer = dataclasses.field(
        default_factory=row_optimizers.Adagrad
    )
    initializer: initializers.Initializer = dataclasses.field(
        default_factory=initializers.RandomUniform
    )
    seed: int = 0

    def __post_init__(self):
        """Checks every argument."""
        if not isinstance(self.name, str):
            raise TypeError(
                "A table's name must be a str. Received: "
                f"name={self.name!r} (of type {type(self.name).__name__})."
            )
        if not self.name or len(self.name.encode("utf-8")) > 255:
            raise ValueError(
                "A table's name must have 1 to 255 bytes of UTF-8. Received: "
                f"name={self.name!r}."
            )
        if "\n" in self.name or "\0" in self.name or "/" in self.name:
            raise ValueError(
                "A table's name must not hold '/', a line break or a NUL, "
                "because checkpoint keys are made of it. Received: "
                f"name={self.name!r}."
            )
        object.__setattr__(self, "dim", _integer(self, "dim"))
        if not 1 <= self.dim <= 65536:
            raise ValueError(
                f"dim of table {self.name!r} must be from 1 to 65536. "
                f"Received: dim={self.dim}."
            )
        if not isinstance(self.optimizer, row_optimizers.RowOptimizer):
            raise TypeError(
                f"optimizer of table {self.name!r} must be mt.optimizers.SGD, "
                "Adagrad, Adam or another row optimizer of mt.optimizers (a "
                "table does not take a Keras optimizer). "
                f"Received: {self.optimizer!r}."
            )
        if not isinstance(self.initializer, initializers.Initializer):
            raise TypeError(
                f"initializer of table {self.name!r} must be one of "
                "mt.initializers.Zeros, Constant, RandomUniform, "
                f"TruncatedNormal. Received: {self.initializer!r}."
            )
        object.__setattr__(self, "seed", _integer(self, "seed"))
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(
                f"seed of table {self.name!r} must be from 0 to 2^64 - 1. "
                f"Received: seed={self.seed}."
            )

    @property
    def row_width(self) -> int:
        """Floats of a row with its slots."""
        return self.dim + self.optimizer.slot_floats(self.dim)

    def same_as(self, other: TableConfig) -> bool:
        """Tells whether two configs describe equal tables."""
        return self is other or (
            self.name == other.name
            and self.dim == other.dim
            and self.optimizer == other.optimizer
            and self.initializer == other.initializer
            and self.seed == other.seed
        )

    def get_config(self) -> dict:
        """Returns what `from_config` makes an equal config of (JSON-able)."""
        return {
            "name": self.name,
            "dim": self.dim,
            "optimizer": self.optimizer.get_config(),
            "initializer": self.initializer.get_config(),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict) -> TableConfig:
        """Makes the config that `get_config` described."""
        return cls(
            name=config["name"],
            dim=config["dim"],
            optimizer=row_optimizers.from_config(config["optimizer"]),
            initializer=initializers.from_config(config["initializer"]),
            seed=config["seed"],
        )


def _integer(config: TableConfig, field: str) -> int:
    value = getattr(config, field)
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{field} of table {config.name!r} must be an integer. Received: "
            f"{field}={value!r} (of type {type(value).__name__})."
        ) from None
