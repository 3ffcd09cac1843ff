"""Admission: the frequency filter that decides which ids get a row."""

from __future__ import annotations

import dataclasses

from monolith_tf.config.validation import as_integer
from monolith_tf.config.validation import checked_number

_MAX_COUNT = 65535


@dataclasses.dataclass(frozen=True)
class Admission:
    """Frequency filter: the threshold at which an id gets a row.

    Without a filter an id gets a row at its first gradient. Updates count the
    occurrences of an id in the batch; lookups count nothing. The update that
    reaches the threshold creates the row and steps it. Earlier gradients are
    dropped and counted in `mt.metrics.stats` (`num_rejected`). Checkpoints
    include the counts.

    An id is in one of five states: *padding* (never looked up), *unseen*,
    *counted* but not admitted, *admitted*, or *evicted*, which is unseen again.

    Args:
        min_count: Occurrences that admit an id, 1 to 65,535. Counts are exact
            and take 16 bytes and an index entry per id that is not admitted,
            unless `sketch_bytes` is given. `mt.FeatureConfig` may override it.
        probability: In place of `min_count`: the probability that an occurrence
            admits its id, in (0, 1]. The decision is a function of seed, table,
            id and step, so every run makes the same. `mt.FeatureConfig` may
            override it, also for a table that counts.
        window_seconds: Length of the sliding window of event time in which
            occurrences count; 0 for no window. It slides in steps of half a
            window: an occurrence counts for at least half a window and at most
            a whole one.
        sketch_bytes: Size over all servers of a count-min sketch that replaces
            exact counts, 4,096 or more. An id may be admitted early, never
            late. At 16 bytes per waiting id, about 1 in 170 ids that occurred
            once counts as two occurrences; at 8 bytes 1 in 25. Without a window
            the sketch remembers evicted ids.
        unadmitted: Value of an id without a row, whether unseen, counted or
            evicted: `"initial"`, its initial row, or `"zeros"`. An export reads
            the same.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of range, or conflicts with another.

    Example:
    >>> import monolith_tf as mt
    >>> mt.Admission(min_count=3, window_seconds=86400).kind
    'count'
    >>> mt.Admission(min_count=3, sketch_bytes=1 << 20).kind
    'sketch'
    >>> mt.Admission(probability=0.1).kind
    'probability'
    """

    min_count: int = 1
    probability: float | None = None
    window_seconds: int = 0
    sketch_bytes: int = 0
    unadmitted: str = "initial"

    def __post_init__(self):
        """Checks every argument."""
        for field in ("min_count", "window_seconds", "sketch_bytes"):
            value = getattr(self, field)
            number = as_integer(value)
            if number is None:
                raise TypeError(
                    f"Admission needs an integer for {field}. Received: "
                    f"{field}={value!r} (of type {type(value).__name__})."
                )
            object.__setattr__(self, field, number)
        if not 1 <= self.min_count <= _MAX_COUNT:
            raise ValueError(
                f"Admission needs a min_count from 1 to {_MAX_COUNT}. "
                f"Received: min_count={self.min_count}."
            )
        if not 0 <= self.window_seconds < 1 << 32:
            raise ValueError(
                "Admission needs window_seconds from 0 to 2^32 - 1. Received: "
                f"window_seconds={self.window_seconds}."
            )
        if self.sketch_bytes and not 4096 <= self.sketch_bytes <= 1 << 40:
            raise ValueError(
                "Admission needs sketch_bytes from 4096 to 2^40, or 0 to count "
                f"exactly. Received: sketch_bytes={self.sketch_bytes}."
            )
        if self.unadmitted not in ("initial", "zeros"):
            raise ValueError(
                "Admission needs unadmitted='initial' or 'zeros'. Received: "
                f"unadmitted={self.unadmitted!r}."
            )
        if self.probability is None:
            return
        probability = checked_number(
            "Admission",
            "probability",
            self.probability,
            "0 < probability <= 1",
            lambda value: 0 < value <= 1,
        )
        object.__setattr__(self, "probability", probability)
        if self.min_count != 1 or self.window_seconds or self.sketch_bytes:
            raise ValueError(
                "Admission by probability counts nothing: leave min_count, "
                "window_seconds and sketch_bytes out, or leave probability "
                f"out. Received: {self}."
            )

    @property
    def kind(self) -> str:
        """Name of the filter in the C++ core."""
        if self.probability is not None:
            return "probability"
        if self.sketch_bytes:
            return "sketch"
        return "count" if self.min_count > 1 else "all"

    @property
    def max_own_min_count(self) -> int:
        """The largest `min_count` that a feature may override it with.

        The cells of a sketch have one byte if `min_count` fits into one. A
        table without counts supports 1 alone.
        """
        if self.kind not in ("count", "sketch"):
            return 1
        is_narrow = self.kind == "sketch" and self.min_count <= 255
        return 255 if is_narrow else _MAX_COUNT

    @property
    def filter_layout(self) -> str:
        """Describes the counts in a checkpoint."""
        if self.kind not in ("count", "sketch"):
            return "none"
        width = 1 if self.min_count <= 255 else 2
        sketch = f" bytes={self.sketch_bytes} cell={width}"
        return f"{self.kind} window={self.window_seconds}" + (
            sketch if self.kind == "sketch" else ""
        )

    def get_config(self) -> dict:
        """Returns the arguments of an equal `Admission(**config)`."""
        return dataclasses.asdict(self)
