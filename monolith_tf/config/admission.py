"""Which ids get a row: the admission of a table."""

from __future__ import annotations

import dataclasses

from monolith_tf.config.validation import as_integer
from monolith_tf.config.validation import checked_number

_MAX_COUNT = 65535


@dataclasses.dataclass(frozen=True)
class Admission:
    """Says when an id is frequent enough for a row of its own.

    Without it an id gets a row at its first gradient. Only updates count, with
    the occurrences of the id in the batch; a lookup counts nothing. The update
    that reaches the threshold makes the row and steps it; gradients before it
    are dropped and counted in `mt.metrics.stats` (`num_rejected`). The counts
    are part of a checkpoint.

    An id is in one of five states: *padding* (never looked up), *unseen*,
    *counted* but not admitted, *admitted*, or *evicted*, which is unseen again.

    Args:
        min_count: Occurrences that admit an id, 1 to 65,535. Counted exactly,
            in 16 bytes and an entry of the index an id that waits, unless
            `sketch_bytes` is given. `mt.FeatureConfig` may override it.
        probability: In place of `min_count`: each occurrence admits its id
            with this probability, in (0, 1]. A function of seed, table, id and
            step, so the same in every run. A feature may have another, also of
            a table that counts.
        window_seconds: Only occurrences of the last so many seconds of event
            time count; 0 for all. Time goes in steps of half a window: an
            occurrence counts for at least half of it and never for longer.
        sketch_bytes: Counts in a sketch of so many bytes over all servers,
            4,096 and more, in place of exactly: an id may be admitted early,
            never late. At 16 bytes an id that waits, about 1 id in 170 that
            occurred once is taken for one that occurred twice; at 8 bytes 1 in
            25. Without a window the sketch remembers ids that were evicted.
        unadmitted: What an id without a row reads, whether it is unseen,
            counted or evicted: `"initial"`, its initial row, or `"zeros"`. An
            export reads the same.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has a value out of range, or does not go with
            another.

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
        """The name that the C++ core has for it."""
        if self.probability is not None:
            return "probability"
        if self.sketch_bytes:
            return "sketch"
        return "count" if self.min_count > 1 else "all"

    @property
    def max_own_min_count(self) -> int:
        """The largest `min_count` that a feature may have of its own.

        A sketch has cells of one byte where `min_count` fits into one. A table
        that counts nothing can admit at once.
        """
        if self.kind not in ("count", "sketch"):
            return 1
        is_narrow = self.kind == "sketch" and self.min_count <= 255
        return 255 if is_narrow else _MAX_COUNT

    @property
    def filter_layout(self) -> str:
        """What the words that checkpoints keep of it depend on."""
        if self.kind not in ("count", "sketch"):
            return "none"
        width = 1 if self.min_count <= 255 else 2
        sketch = f" bytes={self.sketch_bytes} cell={width}"
        return f"{self.kind} window={self.window_seconds}" + (
            sketch if self.kind == "sketch" else ""
        )

    def get_config(self) -> dict:
        """Returns what `Admission(**config)` makes an equal one of."""
        return dataclasses.asdict(self)
