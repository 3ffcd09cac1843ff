"""Deltas: the rows of one shard that changed between two cuts."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TableDelta:
    """What changed in one table of one shard.

    Attributes:
        ids: int64 `[n]`, distinct.
        exists: bool `[n]`; False is a tombstone, the row was removed.
        rows: float32 `[n, dim]`; zeros where the row was removed.
    """

    ids: np.ndarray
    exists: np.ndarray
    rows: np.ndarray


@dataclasses.dataclass(frozen=True)
class ShardDelta:
    """The final states of the ids of one shard that changed between two cuts.

    Attributes:
        shard: Which shard of `num_shards`.
        num_shards: Number of shards.
        generation: The shard's generation.
        from_cut: Changes after this cut are in here,
        to_cut: up to this one.
        tables: Per table name, what changed.
    """

    shard: int
    num_shards: int
    generation: int
    from_cut: int
    to_cut: int
    tables: dict[str, TableDelta]
