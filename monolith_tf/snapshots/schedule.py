"""Takes the snapshots of a training on time, and writes each on a thread."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from monolith_tf.errors import CheckpointError
from monolith_tf.errors import in_one_line
from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.snapshot_writer import Moment
from monolith_tf.snapshots.snapshot_writer import SnapshotWriter

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SnapshotOptions:
    """Where, when and how many snapshots are taken.

    Attributes:
        directory: Where the snapshots go. All processes must see it by this
            path.
        every_seconds: Seconds from one snapshot to the next; a snapshot that
            takes longer delays the next.
        full_every: Every how many snapshots one is full.
        keep: Number of whole snapshots to keep, with those that they continue.
        positions: Called at the moment; returns the positions of streams, by
            name, for the manifest: anything that JSON holds.

    Raises:
        ValueError: A number is below 1, or `every_seconds` is negative.
    """

    directory: str | os.PathLike[str]
    every_seconds: float = 60.0
    full_every: int = 10
    keep: int = 3
    positions: Callable[[], Mapping[str, Any]] | None = None

    def __post_init__(self):
        """Checks the numbers."""
        if self.every_seconds < 0:
            raise ValueError(
                "Snapshots need every_seconds of at least 0. Received: "
                f"every_seconds={self.every_seconds}."
            )
        for name in ("full_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"Snapshots need {name} of at least 1. Received: "
                    f"{name}={getattr(self, name)}."
                )


class SnapshotSchedule:
    """The snapshots of one training.

    Not thread-safe: call it between two steps.

    Args:
        options: `SnapshotOptions`.

    Attributes:
        options: As given.
        latest: Manifest of the latest snapshot, or None.
        num_failed: Number of snapshots that failed.
        last_stall_seconds: How long the latest moment took.
    """

    def __init__(self, options: SnapshotOptions):
        """Writes nothing yet."""
        self.options = options
        self.latest: Manifest | None = None
        self.num_failed = 0
        self.last_stall_seconds = 0.0
        self._writer: SnapshotWriter | None = None
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._fatal: Exception | None = None
        self._last_begin = 0.0

    def start(self) -> None:
        """Counts the time to the next snapshot from now on."""
        self._last_begin = time.monotonic()
        self._error = None

    def is_due(self) -> bool:
        """Returns True if it is time, and the last one is written.

        Raises:
            Exception: An error that no later snapshot can mend, such as that
                another process writes in place of this one, ended the last one.
        """
        if self._fatal is not None:
            raise self._fatal
        if time.monotonic() - self._last_begin < self.options.every_seconds:
            return False
        return self._thread is None or not self._thread.is_alive()

    def take(self, model: Any, step: int) -> None:
        """Takes the moment of a snapshot, and writes it on a thread.

        A failure is logged and counted.

        Args:
            model: As in `SnapshotWriter`; the same in each call.
            step: Number of training steps so far. No update may run until this
                returns.
        """
        self.wait()
        moment = self._begin(model, step)
        if moment is None:
            return
        self._thread = threading.Thread(
            target=self._finish_on_thread, args=(moment,), name="snapshot"
        )
        self._thread.start()

    def take_last(self, model: Any, step: int) -> None:
        """Takes a snapshot and waits until it is durable.

        Args:
            model: As in `take`.
            step: As in `take`.

        Raises:
            CheckpointError: It could not be written.
            FencedError: A newer writer took the directory.
        """
        self.wait()
        if self._fatal is not None:
            raise self._fatal
        moment = self._begin(model, step)
        if moment is not None:
            self._finish(moment)
        if self._error is not None:
            raise CheckpointError(
                f"The last snapshot in {os.fspath(self.options.directory)!r} "
                f"could not be written: {in_one_line(self._error)}. The latest "
                "whole one is "
                f"{None if self.latest is None else self.latest.number}."
            ) from self._error

    def wait(self) -> None:
        """Waits until no snapshot is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _begin(self, model: Any, step: int) -> Moment | None:
        self._last_begin = time.monotonic()
        positions = self.options.positions
        found = {} if positions is None else positions()
        try:
            if self._writer is None:
                self._writer = SnapshotWriter(
                    model,
                    self.options.directory,
                    keep=self.options.keep,
                    full_every=self.options.full_every,
                )
            moment = self._writer.begin(step, found)
        except (tf.errors.OpError, OSError) as error:
            self.failed(error)
            return None
        self.last_stall_seconds = time.monotonic() - self._last_begin
        return moment

    def _finish_on_thread(self, moment: Moment) -> None:
        try:
            self._finish(moment)
        except Exception as error:
            self._fatal = error

    def _finish(self, moment: Moment) -> None:
        try:
            self.latest = self._writer.finish(moment)
            self._error = None
        except (tf.errors.OpError, OSError) as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Logs and counts a snapshot that could not be taken."""
        self._error = error
        self.num_failed += 1
        _log.error(
            "A snapshot in %s failed, and the next comes in %s s: %s",
            os.fspath(self.options.directory),
            self.options.every_seconds,
            in_one_line(error),
        )
