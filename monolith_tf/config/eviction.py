"""Which rows go: expiry and caps of a table."""

from __future__ import annotations

import dataclasses
import operator

POLICIES = ("lru", "lfu", "lowest_norm")


@dataclasses.dataclass(frozen=True)
class Eviction:
    """Says which rows a table gives up.

    Each update sweeps a little, and `Table.sweep` all at once. An evicted row
    is a tombstone in the next delta; its memory goes back to the system; an id
    that comes back starts anew, weights and slots. Without any of it a table
    grows as long as there are new ids.

    Args:
        ttl_seconds: A row goes when its last update is longer ago than this, in
            event time (`event_time` of `apply_gradients`, by default the
            clock); 0 for never. Time is what the latest update says it is. For
            updates the row is gone from that moment on; a lookup reads it
            until the sweep passes. A feature may have a shorter one:
            `mt.FeatureConfig`.
        max_rows: Rows of the table over all servers; 0 for no cap. Each server
            keeps to its share after every update. While one runs, a server
            holds its new rows on top; when it ends, rows go, those that it
            changed only when no other is left. Below 4,096 rows a server the
            lowest by the policy go; from there on the lowest of 32 random
            ones.
        max_bytes: The same for bytes: of rows, of the index at its largest,
            and, where admission counts exactly, of ids that wait, which may
            take up to half from the rows. Not of memory that is kept for rows
            to come: docs/rows.md.
        policy: Which row goes for the cap: `"lru"`, the one longest without an
            update (where features have ttls, whose time runs out first);
            `"lfu"`, the one that occurred least (in 16 levels that double, then
            by time); `"lowest_norm"`, the one with the smallest weights. Equal
            ones go in the order of the updates that changed them last, then of
            their ids. A restored row is before all updates.

    Raises:
        TypeError: A number is not an integer.
        ValueError: An argument has a value out of range.

    Example:
    >>> import monolith_tf as mt
    >>> mt.Eviction(ttl_seconds=30 * 86400, max_rows=10_000_000).policy
    'lru'
    """

    ttl_seconds: int = 0
    max_rows: int = 0
    max_bytes: int = 0
    policy: str = "lru"

    def __post_init__(self):
        """Checks every argument."""
        for field in ("ttl_seconds", "max_rows", "max_bytes"):
            value = getattr(self, field)
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise TypeError(
                    f"Eviction needs an integer for {field}. Received: "
                    f"{field}={value!r} (of type {type(value).__name__})."
                )
            object.__setattr__(self, field, operator.index(value))
            limit = 1 << (32 if field == "ttl_seconds" else 63)
            if not 0 <= getattr(self, field) < limit:
                raise ValueError(
                    f"Eviction needs {field} from 0 to {limit - 1}, 0 for "
                    f"none. Received: {field}={value}."
                )
        if self.policy not in POLICIES:
            raise ValueError(
                f"Eviction needs a policy of {', '.join(POLICIES)}. Received: "
                f"policy={self.policy!r}."
            )

    @property
    def needs_times(self) -> bool:
        """Whether rows have to know when they were updated."""
        has_cap = self.max_rows > 0 or self.max_bytes > 0
        return self.ttl_seconds > 0 or (
            has_cap and self.policy != "lowest_norm"
        )

    def share(self, shard: int, num_shards: int, field: str) -> int:
        """Returns the part of `max_rows` or `max_bytes` that a shard keeps to.

        The parts of all shards sum to the whole, but each is at least 1.
        """
        total = getattr(self, field)
        if not total:
            return 0
        part = total * (shard + 1) // num_shards - total * shard // num_shards
        return max(1, part)

    def get_config(self) -> dict:
        """Returns what `Eviction(**config)` makes an equal one of."""
        return dataclasses.asdict(self)
