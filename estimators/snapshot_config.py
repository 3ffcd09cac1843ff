"""The snapshots that an Estimator takes: where, when and how many."""

from __future__ import annotations

import dataclasses

from monolith_tf.snapshots.schedule import SnapshotOptions


@dataclasses.dataclass(frozen=True)
class SnapshotConfig(SnapshotOptions):
    """Where, when and how many snapshots an Estimator takes.

    Attributes:
        directory: Where the snapshots go. The chief and all parameter servers
            must see it by this path.
        every_seconds: Seconds from one snapshot to the next; a snapshot that
            takes longer delays the next.
        full_every: Every how many snapshots one is full.
        keep: Number of whole snapshots to keep, with those that they continue.
        positions: Called at the moment; returns the positions of streams, by
            name, for the manifest: anything that JSON holds.
        allow_fresh: Begins without a snapshot where none is whole, although
            files of snapshots exist.
        pause_seconds: Longest wait for the step of a worker before the moment.

    Raises:
        ValueError: A number is below 1, or one of seconds is negative.

    Example:
    >>> from monolith_tf import estimators
    >>> config = estimators.RunConfig(
    ...     "model", snapshots=estimators.SnapshotConfig("model/snapshots"))
    >>> config.snapshots.every_seconds
    60.0
    """

    allow_fresh: bool = False
    pause_seconds: float = 10.0

    def __post_init__(self):
        """Checks the numbers."""
        super().__post_init__()
        if self.pause_seconds < 0:
            raise ValueError(
                "Snapshots need pause_seconds of at least 0. Received: "
                f"pause_seconds={self.pause_seconds}."
            )
