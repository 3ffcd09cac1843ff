"""Counters of a pusher, as attributes and for Prometheus."""

from __future__ import annotations

COUNTERS = {
    "deltas": "Deltas cut from the trainer that held a change.",
    "chunks": "Chunks that the server applied.",
    "rows": "Rows that the server applied.",
    "tombstones": "Tombstones that the server applied.",
    "bytes": "Bytes of the applied chunks, as in the log.",
    "duplicates": "Chunks that the server had applied before.",
    "refusals": "Chunks that the server rejected.",
    "replays": "Chunks sent again, read from the log.",
    "resyncs": "Full exports written because deltas could not continue.",
    "unreachable": "Rounds that ended without an answer of the server.",
    "dropped_chunks": "Chunks that the log dropped.",
    "corrupt_files": "Files of the log that were rejected.",
    "failed_writes": "Rounds that could not write the log.",
}


class PushMetrics:
    """Counters of one pusher; each is an attribute of this object.

    Args:
        registry: A `prometheus_client.CollectorRegistry` for the counters
            `monolith_delta_<name>_total` and the gauge
            `monolith_delta_lag_seconds`; None for no registry.

    Attributes:
        deltas, chunks, rows, tombstones, bytes, duplicates, refusals, replays,
        resyncs, unreachable, dropped_chunks, corrupt_files, failed_writes: See
            `COUNTERS`.
        lag_seconds: Seconds from the cut of the oldest delta to its
            acknowledgement, in the last fully acknowledged round; while chunks
            wait, the age of the oldest.
    """

    def __init__(self, registry=None):
        """Starts every count at 0."""
        self._exported = {}
        self._exported_lag = None
        self.lag_seconds = 0.0
        for name in COUNTERS:
            setattr(self, name, 0)
        if registry is not None:
            # Imported here, because the package is optional.
            import prometheus_client

            self._exported = {
                name: prometheus_client.Counter(
                    f"monolith_delta_{name}", text, registry=registry
                )
                for name, text in COUNTERS.items()
            }
            self._exported_lag = prometheus_client.Gauge(
                "monolith_delta_lag_seconds",
                "Seconds from a cut to its acknowledgement.",
                registry=registry,
            )

    def count(self, name: str, amount: int = 1) -> None:
        """Adds to one counter."""
        setattr(self, name, getattr(self, name) + amount)
        if name in self._exported:
            self._exported[name].inc(amount)

    def set_lag(self, seconds: float) -> None:
        """Sets `lag_seconds`."""
        self.lag_seconds = seconds
        if self._exported_lag is not None:
            self._exported_lag.set(seconds)

    def as_dict(self) -> dict[str, float]:
        """Returns every counter by name, and `lag_seconds`."""
        counts = {name: getattr(self, name) for name in COUNTERS}
        return {**counts, "lag_seconds": self.lag_seconds}
