"""Eviction: time to live and capacity limits of a table."""

from __future__ import annotations

import dataclasses
import operator

POLICIES = ("lru", "lfu", "lowest_norm")


@dataclasses.dataclass(frozen=True)
class Eviction:
    """Time to live and capacity limits of the rows of a table.

    Each update sweeps a part of the table; `Table.sweep` sweeps all of it. An
    evicted row is a tombstone in the next delta, and its memory returns to the
    system. An evicted id that occurs again starts from its initial row and
    slots. Without eviction a table grows with the number of ids.

    Args:
        ttl_seconds: Time to live of a row after its last update, in event time
            (`event_time` of `apply_gradients`, by default the clock); 0 for no
            limit. The latest update sets the current time. Updates ignore an
            expired row; lookups read it until a sweep evicts it.
            `mt.FeatureConfig` may override it with a shorter one.
        max_rows: Capacity limit in rows over all servers; 0 for no limit. Each
            server enforces its share after every update. During an update a
            server holds the new rows on top. The rows that the update changed
            are evicted last. With fewer than 4,096 rows per server the lowest
            rows by the policy are evicted, otherwise the lowest of 32 random
            rows.
        max_bytes: Capacity limit in bytes over all servers; 0 for no limit. It
            covers the rows, the index at its largest and, with exact counts,
            ids that are not admitted, which may take up to half of the rows'
            share. It does not cover reserved memory: see docs/rows.md.
        policy: Row to evict at the limit. `"lru"`: the row that was updated
            longest ago (or, where features override the time to live, expires
            first). `"lfu"`: the row with the fewest occurrences, in 16 levels
            that double, then by time. `"lowest_norm"`: the row with the
            smallest weights. Ties are broken by the order of their last
            updates, then by id; restored rows precede all updates.
        max_future_seconds: How far the event time of an update may be ahead of
            both the server's clock and the latest time that the table has seen;
            0 for no limit. An update with a later time, such as one of a broken
            log, counts at the latest time that the table has seen, and in
            `TableStats.num_future_times`. A time that was believed would expire
            every row. `Table.set_clock` repairs a clock that is ahead.

    Raises:
        TypeError: A number is not an integer.
        ValueError: An argument is out of range.

    Example:
    >>> import monolith_tf as mt
    >>> mt.Eviction(ttl_seconds=30 * 86400, max_rows=10_000_000).policy
    'lru'
    """

    ttl_seconds: int = 0
    max_rows: int = 0
    max_bytes: int = 0
    policy: str = "lru"
    max_future_seconds: int = 86400

    def __post_init__(self):
        """Checks every argument."""
        for field in (
            "ttl_seconds",
            "max_rows",
            "max_bytes",
            "max_future_seconds",
        ):
            value = getattr(self, field)
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise TypeError(
                    f"Eviction needs an integer for {field}. Received: "
                    f"{field}={value!r} (of type {type(value).__name__})."
                )
            object.__setattr__(self, field, operator.index(value))
            limit = 1 << (32 if field.endswith("_seconds") else 63)
            if not 0 <= getattr(self, field) < limit:
                raise ValueError(
                    f"Eviction needs {field} from 0 to {limit - 1}, 0 for no "
                    f"limit. Received: {field}={value}."
                )
        if self.policy not in POLICIES:
            raise ValueError(
                f"Eviction needs one of {', '.join(POLICIES)} for policy. "
                f"Received: policy={self.policy!r}."
            )

    @property
    def needs_times(self) -> bool:
        """True if rows need the time of their last update."""
        has_cap = self.max_rows > 0 or self.max_bytes > 0
        return self.ttl_seconds > 0 or (
            has_cap and self.policy != "lowest_norm"
        )

    def share(self, shard: int, num_shards: int, field: str) -> int:
        """Returns a shard's share of `max_rows` or `max_bytes`.

        The shares of all shards sum to the limit, but each is at least 1.
        """
        total = getattr(self, field)
        if not total:
            return 0
        part = total * (shard + 1) // num_shards - total * shard // num_shards
        return max(1, part)

    def get_config(self) -> dict:
        """Returns the arguments of an equal `Eviction(**config)`."""
        return dataclasses.asdict(self)
