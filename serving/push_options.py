"""Options of a pusher."""

from __future__ import annotations

import dataclasses

from monolith_tf.serving.push_metrics import PushMetrics


@dataclasses.dataclass(frozen=True)
class PushOptions:
    """Bounds of a `DeltaPusher`.

    Args:
        chunk_rows: The most ids of one request, over all tables; 1 to 4,096.
        timeout_seconds: Deadline of one request.
        max_attempts: Attempts of one request within a round.
        max_backoff_seconds: Longest pause between rounds while the server is
            unreachable; every round still cuts and logs.
        log_max_bytes: Size limit of the log; see `DeltaLog`.
        log_max_age_seconds: Age limit of the log.
        verify_seconds: Interval at which an idle pusher reads the progress of
            the server, to detect a restarted one.
        flush_timeout_seconds: Longest wait of `flush` and `close` for the
            server.
        metrics: Counters to add to, such as
            `PushMetrics(prometheus_client.REGISTRY)`; None for new ones.

    Raises:
        ValueError: A number is out of range.

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
