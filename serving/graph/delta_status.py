"""Constants of the delta protocol, shared by the graph and its clients."""

from __future__ import annotations

import enum

FORMAT = 1

# header[0, i] of `monolith_apply_delta`.
HEADER_FIELDS = (
    "format",
    "export_id",
    "generation",
    "shard",
    "num_shards",
    "from_cut",
    "to_cut",
    "sequence",
)


class DeltaStatus(enum.IntEnum):
    """Result of a request to apply a delta."""

    APPLIED = 0
    DUPLICATE = 1
    GAP = 2
    UNKNOWN_GENERATION = 3
    UNKNOWN_EXPORT = 4
    MALFORMED = 5
