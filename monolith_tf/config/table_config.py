"""Configs of tables and of the segments of their rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from monolith_tf.config import initializers
from monolith_tf.config import precisions
from monolith_tf.config import row_optimizers
from monolith_tf.config.admission import Admission
from monolith_tf.config.eviction import Eviction
from monolith_tf.config.validation import as_integer


@dataclasses.dataclass(frozen=True)
class Segment:
    """A slice of a row with an optimizer, an initializer and a precision.

    One lookup reads and one update steps all segments of a row: for instance
    the bias and the vector of an id, each with its own learning rate.

    Args:
        dim: Length of the slice, 1 to 65,536 floats.
        optimizer: One of `mt.optimizers`; default Adagrad.
        initializer: One of `mt.initializers`; default RandomUniform.
        precision: One of `mt.precisions`; default Float32.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `dim` is out of range, or does not fit the initializer.

    Example:
    >>> import monolith_tf as mt
    >>> config = mt.TableConfig("user", segments=[
    ...     mt.Segment(1, optimizer=mt.optimizers.SGD(0.1)),
    ...     mt.Segment(16, precision=mt.precisions.BFloat16())])
    >>> config.dim
    17
    """

    dim: int
    optimizer: row_optimizers.RowOptimizer | None = None
    initializer: initializers.Initializer | None = None
    precision: precisions.Precision | None = None

    def __post_init__(self):
        """Checks every argument."""
        object.__setattr__(self, "dim", _integer(self, "dim"))
        if not 1 <= self.dim <= 65536:
            raise ValueError(
                f"dim must be from 1 to 65536. Received: dim={self.dim}."
            )
        for field, base, default, home in (
            (
                "optimizer",
                row_optimizers.RowOptimizer,
                row_optimizers.Adagrad,
                "mt.optimizers (a table does not take a Keras optimizer)",
            ),
            (
                "initializer",
                initializers.Initializer,
                initializers.RandomUniform,
                "mt.initializers",
            ),
            (
                "precision",
                precisions.Precision,
                precisions.Float32,
                "mt.precisions",
            ),
        ):
            value = getattr(self, field)
            if value is None:
                object.__setattr__(self, field, default())
            elif not isinstance(value, base):
                raise TypeError(
                    f"{field} must be one of {home}. Received: {value!r}."
                )
        self.initializer.check_dim(self.dim)

    @property
    def slot_floats(self) -> int:
        """Number of floats of optimizer state of the slice."""
        return self.optimizer.slot_floats(self.dim)

    def get_config(self) -> dict:
        """Returns the config of an equal segment (JSON-able)."""
        return {
            "dim": self.dim,
            "optimizer": self.optimizer.get_config(),
            "initializer": self.initializer.get_config(),
            "precision": self.precision.get_config(),
        }

    @classmethod
    def from_config(cls, config: dict) -> Segment:
        """Makes the segment of a config, the result of `get_config`."""
        return cls(
            dim=config["dim"],
            optimizer=row_optimizers.from_config(config["optimizer"]),
            initializer=initializers.from_config(config["initializer"]),
            precision=(
                precisions.from_config(config["precision"])
                if "precision" in config
                else None
            ),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class TableConfig:
    """Configuration of a table: name, rows, admission and eviction.

    A config *object* is one table: features and layers with the same object
    share the table and its rows. Two objects are two tables, even if they are
    equal (`same_as` compares the contents). An exception is one
    `EmbeddingCollection`, where equal configs of one name are one table. Names
    are unique in a model. Each `with mt.TableSet():` block has its own table of
    a config; threads start outside of such blocks.

    Args:
        name: Non-empty text that identifies the table. Initial rows depend on
            it, and checkpoints, exports and deltas find tables by it.
        dim: Length of a row, 1 to 65,536 floats. Omit it with `segments`.
        optimizer: One of `mt.optimizers`, independent of the optimizer that the
            model is compiled with. Default: Adagrad.
        initializer: One of `mt.initializers`: the row of an id before its first
            gradient. Default: RandomUniform.
        seed: Integer from 0 to 2^64 - 1; initial rows depend on it.
        precision: One of `mt.precisions`: the storage format of weights. Slots
            and arithmetic are float32. Default: Float32.
        segments: In place of `dim`, `optimizer`, `initializer` and `precision`:
            the slices of a row, a list of `mt.Segment`. Their dims sum to at
            most 65,536.
        admission: `mt.Admission`: which ids get a row. Default: all.
        eviction: `mt.Eviction`: which rows are evicted. Default: none.
        tracks_changes: True if rows store their time and their cut. False saves
            8 bytes per row, but deltas, time to live, and capacity limits with
            policies other than "lowest_norm" need it.
        initial_capacity: Rows over all servers for which the table reserves
            memory when it is created: up to there no row allocates a page, and
            the index does not grow. Counters of ids that are not admitted are
            not included. A server without enough free memory rejects the table.
            0 reserves nothing; the table grows beyond in any case. At most
            `max_rows` of the eviction. Equal tables may differ in it.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of range, or conflicts with another.

    Example:
    >>> import monolith_tf as mt
    >>> config = mt.TableConfig(
    ...     name="movie", dim=16,
    ...     optimizer=mt.optimizers.Adagrad(learning_rate=0.05),
    ...     initializer=mt.initializers.RandomUniform(-0.05, 0.05), seed=7,
    ...     admission=mt.Admission(min_count=2),
    ...     eviction=mt.Eviction(ttl_seconds=30 * 86400))
    >>> config.row_width
    32
    """

    name: str
    dim: int | None = None
    optimizer: row_optimizers.RowOptimizer | None = None
    initializer: initializers.Initializer | None = None
    seed: int = 0
    precision: precisions.Precision | None = None
    segments: Sequence[Segment] | None = None
    admission: Admission = Admission()
    eviction: Eviction = Eviction()
    tracks_changes: bool = True
    initial_capacity: int = 0

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
                "A table's name must not contain '/', a line break or a NUL, "
                "because it is part of checkpoint keys. Received: "
                f"name={self.name!r}."
            )
        try:
            self._make_segments()
        except (TypeError, ValueError) as error:
            raise type(error)(f"Table {self.name!r}: {error}") from None
        object.__setattr__(self, "seed", _integer(self, "seed"))
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(
                f"seed of table {self.name!r} must be from 0 to 2^64 - 1. "
                f"Received: seed={self.seed}."
            )
        capacity = _integer(self, "initial_capacity")
        object.__setattr__(self, "initial_capacity", capacity)
        if not 0 <= capacity <= 1 << 36:
            raise ValueError(
                f"initial_capacity of table {self.name!r} must be from 0 to "
                f"2^36 rows. Received: initial_capacity={capacity}."
            )
        for field, kind in (
            ("admission", Admission),
            ("eviction", Eviction),
            ("tracks_changes", bool),
        ):
            value = getattr(self, field)
            if isinstance(value, np.bool_):
                value = bool(value)
                object.__setattr__(self, field, value)
            if not isinstance(value, kind):
                raise TypeError(
                    f"{field} of table {self.name!r} must be of type "
                    f"{kind.__name__}. Received: {value!r}."
                )
        max_rows = self.eviction.max_rows
        if 0 < max_rows < capacity:
            raise ValueError(
                f"initial_capacity of table {self.name!r} exceeds max_rows. "
                "Pass at most max_rows, or raise max_rows. "
                f"Received: initial_capacity={capacity}, max_rows={max_rows}."
            )
        if self.eviction.needs_times and not self.tracks_changes:
            raise ValueError(
                f"Table {self.name!r}: a time to live and the policies 'lru' "
                "and 'lfu' need the times of rows: leave tracks_changes=False "
                f"out. Received: {self.eviction}."
            )

    def _make_segments(self) -> None:
        whole = ("dim", "optimizer", "initializer", "precision")
        if self.segments is None:
            if self.dim is None:
                raise TypeError(
                    "a table needs dim, the length of its rows, or segments."
                )
            segment = Segment(**{name: getattr(self, name) for name in whole})
            for name in whole:
                object.__setattr__(self, name, getattr(segment, name))
            object.__setattr__(self, "segments", (segment,))
            return
        try:
            segments = tuple(self.segments)
        except TypeError:
            segments = ()
        if not segments or not all(isinstance(s, Segment) for s in segments):
            raise TypeError(
                "segments must be a list of at least one mt.Segment. Received: "
                f"segments={self.segments!r}."
            )
        dim = sum(s.dim for s in segments)
        given = {
            name: getattr(self, name)
            for name in whole
            if getattr(self, name) is not None
        }
        # `dataclasses.replace` passes the values that are filled in here.
        of_first = {name: getattr(segments[0], name) for name in whole}
        is_filled_in = given == {"dim": dim} or (
            len(segments) == 1 and given == of_first
        )
        if given and not is_filled_in:
            raise ValueError(
                "a table with segments takes no "
                f"{' and no '.join(given)}; pass them to each segment."
            )
        object.__setattr__(self, "segments", segments)
        object.__setattr__(self, "dim", dim)
        if self.dim > 65536:
            raise ValueError(
                "the dims of the segments must sum to at most 65536. Received: "
                f"{self.dim}."
            )

    @property
    def row_width(self) -> int:
        """Number of floats of a row with its slots."""
        return self.dim + sum(s.slot_floats for s in self.segments)

    def learning_rates_at(self, step) -> list:
        """Returns the rate of each segment at a step: float32 scalars.

        Args:
            step: int64 scalar, the number of steps made before this one.
        """
        return [s.optimizer.learning_rate_at(step) for s in self.segments]

    def capacity_share(self, num_shards: int) -> int:
        """Returns the rows that one of `num_shards` servers reserves."""
        return -(-self.initial_capacity // num_shards)

    def op_attributes(self, shard: int, num_shards: int) -> dict[str, Any]:
        """Returns the attributes of `ops.table_create`, as plain values.

        Args:
            shard: The shard of the server, 0 to `num_shards - 1`.
            num_shards: Number of servers.
        """
        attributes: dict[str, Any] = {
            "table": self.name,
            "dims": [segment.dim for segment in self.segments],
            "regularizations": [
                number
                for segment in self.segments
                for number in segment.optimizer.regularization
            ],
        }
        for kinds, counts, numbers, parts in (
            (
                "optimizers",
                "num_hyperparameters",
                "hyperparameters",
                [
                    (s.optimizer.kind, s.optimizer.hyperparameters)
                    for s in self.segments
                ],
            ),
            (
                "initializers",
                "num_initializer_parameters",
                "initializer_parameters",
                [
                    (s.initializer.kind, s.initializer.parameters)
                    for s in self.segments
                ],
            ),
            (
                "precisions",
                "num_precision_parameters",
                "precision_parameters",
                [
                    (s.precision.kind, s.precision.parameters)
                    for s in self.segments
                ],
            ),
        ):
            attributes[kinds] = [kind for kind, _ in parts]
            attributes[counts] = [len(values) for _, values in parts]
            attributes[numbers] = [v for _, values in parts for v in values]
        admission = self.admission
        counts_ids = admission.kind != "all"
        probability = admission.probability
        eviction = self.eviction
        # The op takes the bits of the seed as an int64.
        seed = self.seed - (1 << 64) if self.seed >= 1 << 63 else self.seed
        return attributes | {
            "seed": seed,
            "admission": admission.kind,
            "min_count": admission.min_count,
            "probability": 1.0 if probability is None else probability,
            "sketch_bytes": admission.sketch_bytes,
            "window_seconds": admission.window_seconds if counts_ids else 0,
            "reads_zeros": admission.unadmitted == "zeros",
            "ttl_seconds": eviction.ttl_seconds,
            "max_future_seconds": eviction.max_future_seconds,
            "max_rows": eviction.share(shard, num_shards, "max_rows"),
            "max_bytes": eviction.share(shard, num_shards, "max_bytes"),
            "policy": eviction.policy,
            "tracks_changes": self.tracks_changes,
            "initial_capacity": self.capacity_share(num_shards),
            "shard": shard,
            "num_shards": num_shards,
        }

    def same_as(self, other: TableConfig) -> bool:
        """Returns True if two configs describe equal tables."""
        return self is other or all(
            getattr(self, field) == getattr(other, field)
            for field in (
                "name",
                "segments",
                "seed",
                "admission",
                "eviction",
                "tracks_changes",
            )
        )

    def get_config(self) -> dict:
        """Returns an equal config as a dict (JSON-able)."""
        return {
            "name": self.name,
            "seed": self.seed,
            "segments": [segment.get_config() for segment in self.segments],
            "admission": self.admission.get_config(),
            "eviction": self.eviction.get_config(),
            "tracks_changes": self.tracks_changes,
            "initial_capacity": self.initial_capacity,
        }

    @classmethod
    def from_config(cls, config: dict) -> TableConfig:
        """Makes the config of a dict, the result of `get_config`."""
        segments = [Segment.from_config(s) for s in config["segments"]]
        # The config of one segment has its fields, as it was made.
        rows = {"segments": segments}
        if len(segments) == 1:
            rows = {
                field: getattr(segments[0], field)
                for field in ("dim", "optimizer", "initializer", "precision")
            }
        return cls(
            name=config["name"],
            seed=config.get("seed", 0),
            admission=Admission(**config.get("admission", {})),
            eviction=Eviction(**config.get("eviction", {})),
            tracks_changes=config.get("tracks_changes", True),
            initial_capacity=config.get("initial_capacity", 0),
            **rows,
        )


def _integer(config: TableConfig | Segment, field: str) -> int:
    value = getattr(config, field)
    number = as_integer(value)
    if number is None:
        raise TypeError(
            f"{field} must be an integer. Received: {field}={value!r} (of type "
            f"{type(value).__name__})."
        )
    return number
