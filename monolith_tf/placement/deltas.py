"""Deltas: the rows of one shard that changed between two cuts."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TableDelta:
    """The changes of one table of one shard.

    Attributes:
        ids: int64 `[n]`, distinct.
        exists: bool `[n]`; False marks a tombstone, the row was removed.
        rows: float32 `[m, dim]`, one row per id that exists, in order of `ids`.
    """

    ids: np.ndarray
    exists: np.ndarray
    rows: np.ndarray

    @classmethod
    def of_op(cls, ids, exists, rows) -> TableDelta:
        """Takes the outputs of `ops.take_delta`, where removed rows are 0.

        Args:
            ids: int64 `[n]`.
            exists: bool `[n]`.
            rows: float32 `[n, dim]`.
        """
        exists = np.asarray(exists)
        return cls(np.asarray(ids), exists, np.asarray(rows)[exists])


@dataclasses.dataclass(frozen=True)
class ShardDelta:
    """The final states of the ids of one shard that changed between two cuts.

    Attributes:
        shard: Number of the shard.
        num_shards: Number of shards.
        generation: The shard's generation.
        from_cut: The delta holds the changes after this cut ...
        to_cut: ... up to and including this one.
        tables: Table name to changes.
    """

    shard: int
    num_shards: int
    generation: int
    from_cut: int
    to_cut: int
    tables: dict[str, TableDelta]
