"""How a pusher works beyond its address; the defaults suit most."""

from __future__ import annotations

import dataclasses

from monolith_tf.serving.push_metrics import PushMetrics


@dataclasses.dataclass(frozen=True)
class PushOptions:
    """Bounds of a `DeltaPusher`.

    Args:
        chunk_rows: Most ids in one request, over all tables; 1 to 4,096.
        timeout_seconds: Deadline of one request.
        max_attempts: Attempts of one request within a round.
        max_backoff_seconds: Longest pause between rounds while the server is
            out of reach; every round still cuts and logs.
        log_max_bytes: Bound of the log; see `DeltaLog`.
        log_max_age_seconds: Bound of the log.
        verify_seconds: How often an idle pusher asks the server how far it is,
            which finds one that started again from its files.
        flush_timeout_seconds: How long `flush` and `close` wait for the server.
        metrics: Counters to add to, such as
            `PushMetrics(prometheus_client.REGISTRY)`; None makes new ones.

    Raises:
        ValueError: A number out of range, by name.

    Example:
    >>> PushOptions(chunk_rows=1024).timeout_seconds
    10.0
    """

    chunk_rows: int = 4096
    timeout_seconds: float = 10.0
    max_attempts: int = 3
    max_backoff_seconds: float = 2.0
    log_max_bytes: int = 1 << 30
    log_max_age_seconds: float = 24 * 3600.0
    verify_seconds: float = 1.0
    flush_timeout_seconds: float = 60.0
    metrics: PushMetrics | None = None

    def __post_init__(self):
        """Checks every number."""
        if not 1 <= self.chunk_rows <= 4096:
            raise ValueError(
                "`chunk_rows` must be from 1 to 4096. Received: "
                f"chunk_rows={self.chunk_rows}."
            )
        for name in (
            "timeout_seconds",
            "max_attempts",
            "max_backoff_seconds",
            "log_max_bytes",
            "log_max_age_seconds",
            "verify_seconds",
            "flush_timeout_seconds",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"`{name}` must be positive. Received: "
                    f"{name}={getattr(self, name)}."
                )
