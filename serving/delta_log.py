"""The delta log: a bounded directory of the chunks of one export.

The log makes a push repeatable: a chunk is durable in the log before it is
sent. A restarted server, which loads the files of its version, receives every
chunk since the export again. The log is bounded by bytes and by age. Dropped
chunks are counted, and a server that needs one receives a new full export
instead.

```
<directory>/LOCK                                      held by the one writer
<directory>/<export id>/<stream>-<sequence>.delta     one chunk (delta.py)
<directory>/<export id>/.tmp-*                        not yet part of the log
```
"""

from __future__ import annotations

import collections
import dataclasses
import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable
from collections.abc import Iterator

from monolith_tf import failpoints
from monolith_tf.errors import DeliveryError
from monolith_tf.serving import delta as delta_lib

_CHUNK_NAME = re.compile(r"^(\d{5})-(\d{20})\.delta$")
_EXPORT_NAME = re.compile(r"^\d{20}$")
_TEMPORARY_PREFIX = ".tmp-"
_LOCK_NAME = "LOCK"
# A file takes at least one disk block, and most chunks are small.
_DISK_BLOCK_BYTES = 4096

_logger = logging.getLogger(__name__)


class LogInUseError(DeliveryError):
    """Another process writes to this log directory."""


class NotInLogError(DeliveryError):
    """A sequence number that the log does not have, or has dropped."""


@dataclasses.dataclass(frozen=True)
class _Entry:
    stream: int
    sequence: int
    num_bytes: int
    written_at: float


class DeltaLog:
    """The chunks of one export, in order of sequence within each stream.

    Not thread-safe; one pusher owns it. Opening deletes unfinished files of a
    killed process and the chunks of other exports.

    Args:
        directory: Directory of the log, created if needed. One writer at a
            time.
        export_id: The export of the chunks.
        max_bytes: Limit in bytes on disk, beyond which the oldest chunks are
            dropped; a chunk counts as at least 4,096.
        max_age_seconds: Chunks older than this are dropped.
        clock: Seconds since the epoch; for tests.

    Attributes:
        num_dropped: Number of chunks dropped since opening.
        num_bytes: Bytes on disk, counted as for `max_bytes`.

    Raises:
        LogInUseError: Another process uses the directory.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        export_id: int,
        max_bytes: int = 1 << 30,
        max_age_seconds: float = 24 * 3600.0,
        clock=time.time,
    ):
        """Locks the directory and reads the names of its files."""
        if max_bytes < _DISK_BLOCK_BYTES or max_age_seconds <= 0:
            raise ValueError(
                f"`max_bytes` must be at least {_DISK_BLOCK_BYTES} and "
                "`max_age_seconds` positive. Received: "
                f"max_bytes={max_bytes}, max_age_seconds={max_age_seconds}."
            )
        self._directory = os.fspath(directory)
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self.num_dropped = 0
        self.num_bytes = 0
        os.makedirs(self._directory, exist_ok=True)
        self._lock_file = _lock(os.path.join(self._directory, _LOCK_NAME))
        try:
            self.start(export_id)
        except BaseException:
            self.close()
            raise

    def start(self, export_id: int) -> None:
        """Deletes the chunks of other exports and opens those of this one."""
        self._export_id = export_id
        self._folder = os.path.join(self._directory, f"{export_id:020d}")
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            if _EXPORT_NAME.match(name) and path != self._folder:
                failpoints.hit("delta_log.before_drop_export")
                shutil.rmtree(path, ignore_errors=True)
        os.makedirs(self._folder, exist_ok=True)
        _sync_directory(self._directory)
        self._streams: dict[int, collections.deque[_Entry]] = {}
        self._oldest: collections.deque[_Entry] = collections.deque()
        self.num_bytes = 0
        for entry in self._scan():
            self._remember(entry)
        self._drop_what_is_too_much()

    def append(self, chunks: Iterable[delta_lib.DeltaChunk]) -> int:
        """Makes chunks durable: all of them, or none if writing fails.

        Args:
            chunks: Each the successor of the last chunk of its stream.

        Returns:
            Bytes written.

        Raises:
            ValueError: A chunk belongs to another export, or is out of order.
            OSError: Writing failed; the log did not change.
        """
        chunks = list(chunks)
        self._check_order(chunks)
        written: list[tuple[str, str, _Entry]] = []
        try:
            for chunk in chunks:
                written.append(self._write_temporary(chunk))
            for temporary, final, _ in written:
                failpoints.hit("delta_log.before_rename")
                os.rename(temporary, final)
                failpoints.hit("delta_log.after_rename")
            _sync_directory(self._folder)
            failpoints.hit("delta_log.after_append")
        except BaseException:
            for temporary, final, _ in written:
                _remove_quietly(temporary)
                _remove_quietly(final)
            raise
        for _, _, entry in written:
            self._remember(entry)
        self._drop_what_is_too_much()
        return sum(entry.num_bytes for _, _, entry in written)

    def first_sequence(self, stream: int) -> int:
        """Returns the lowest sequence of a stream, or 0 if it has no chunk."""
        entries = self._streams.get(stream)
        return entries[0].sequence if entries else 0

    def last_sequence(self, stream: int) -> int:
        """Returns the highest sequence of a stream, or 0 if it has no chunk."""
        entries = self._streams.get(stream)
        return entries[-1].sequence if entries else 0

    def read(self, stream: int, sequence: int) -> delta_lib.DeltaChunk:
        """Returns one chunk.

        Raises:
            NotInLogError: It was never written, or was dropped.
            CorruptDeltaError: The file is damaged; the message has the offset.
        """
        first = self.first_sequence(stream)
        if first == 0 or not first <= sequence <= self.last_sequence(stream):
            raise NotInLogError(
                f"Delta log {self._folder!r} has sequences {first} to "
                f"{self.last_sequence(stream)} of stream {stream}. Received: "
                f"{sequence}."
            )
        path = self._path(stream, sequence)
        try:
            chunk = delta_lib.read(path)
        except FileNotFoundError:
            raise NotInLogError(
                f"Delta file {path!r} was deleted while the log was open."
            ) from None
        found = (chunk.export_id, chunk.shard, chunk.sequence)
        if found != (self._export_id, stream, sequence):
            raise delta_lib.CorruptDeltaError(
                path,
                0,
                "it has export, stream and sequence "
                f"{found}, its name "
                f"{(self._export_id, stream, sequence)}",
            )
        return chunk

    def read_from(
        self, stream: int, sequence: int
    ) -> Iterator[delta_lib.DeltaChunk]:
        """Yields the chunks of a stream in order, from `sequence` on."""
        while sequence <= self.last_sequence(stream):
            yield self.read(stream, sequence)
            sequence += 1

    def close(self) -> None:
        """Unlocks the directory; the chunks remain."""
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def __enter__(self) -> DeltaLog:
        """Returns the log itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes the log."""
        self.close()

    def _path(self, stream: int, sequence: int) -> str:
        return os.path.join(self._folder, f"{stream:05d}-{sequence:020d}.delta")

    def _check_order(self, chunks: list[delta_lib.DeltaChunk]) -> None:
        last: dict[int, int] = {}
        for chunk in chunks:
            if chunk.export_id != self._export_id:
                raise ValueError(
                    f"The log needs chunks of export {self._export_id}. "
                    f"Received: a chunk of export {chunk.export_id}."
                )
            previous = last.get(chunk.shard, self.last_sequence(chunk.shard))
            # An empty stream may start anywhere: earlier chunks were dropped.
            if previous and chunk.sequence != previous + 1:
                raise ValueError(
                    f"The next chunk of stream {chunk.shard} must have "
                    f"sequence {previous + 1}. Received: {chunk.sequence}."
                )
            last[chunk.shard] = chunk.sequence

    def _write_temporary(
        self, chunk: delta_lib.DeltaChunk
    ) -> tuple[str, str, _Entry]:
        final = self._path(chunk.shard, chunk.sequence)
        temporary = os.path.join(
            self._folder, _TEMPORARY_PREFIX + os.path.basename(final)
        )
        data = delta_lib.encode(chunk)
        try:
            with open(temporary, "wb") as file:
                failpoints.hit("delta_log.before_write")
                file.write(data)
                file.flush()
                failpoints.hit("delta_log.before_fsync")
                os.fsync(file.fileno())
        except BaseException:
            _remove_quietly(temporary)
            raise
        entry = _Entry(
            chunk.shard, chunk.sequence, _on_disk(len(data)), self._clock()
        )
        return temporary, final, entry

    def _scan(self) -> list[_Entry]:
        """Returns entries on disk by age; a gap ends a stream's history."""
        streams: dict[int, list[_Entry]] = {}
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            if name.startswith(_TEMPORARY_PREFIX):
                _remove_quietly(path)
                continue
            match = _CHUNK_NAME.match(name)
            if match is None:
                _logger.warning("Not a delta file, ignored: %r", path)
                continue
            stat = os.stat(path)
            entry = _Entry(
                int(match[1]),
                int(match[2]),
                _on_disk(stat.st_size),
                stat.st_mtime,
            )
            streams.setdefault(entry.stream, []).append(entry)
        kept: list[_Entry] = []
        for entries in streams.values():
            kept.extend(self._without_holes(entries))
        return sorted(kept, key=lambda e: (e.written_at, e.stream, e.sequence))

    def _without_holes(self, entries: list[_Entry]) -> list[_Entry]:
        entries.sort(key=lambda entry: entry.sequence)
        start = 0
        written_at = 0.0
        for i, entry in enumerate(entries):
            if i and entry.sequence != entries[i - 1].sequence + 1:
                start = i
            # Within a stream, age follows sequence even if the clock went back.
            written_at = max(written_at, entry.written_at)
            entries[i] = dataclasses.replace(entry, written_at=written_at)
        for entry in entries[:start]:
            _remove_quietly(self._path(entry.stream, entry.sequence))
        self.num_dropped += start
        return entries[start:]

    def _remember(self, entry: _Entry) -> None:
        self._streams.setdefault(entry.stream, collections.deque()).append(
            entry
        )
        self._oldest.append(entry)
        self.num_bytes += entry.num_bytes

    def _drop_what_is_too_much(self) -> None:
        too_old = self._clock() - self._max_age_seconds
        while self._oldest and (
            self.num_bytes > self._max_bytes
            or self._oldest[0].written_at < too_old
        ):
            entry = self._oldest.popleft()
            self._streams[entry.stream].popleft()
            self.num_bytes -= entry.num_bytes
            self.num_dropped += 1
            _remove_quietly(self._path(entry.stream, entry.sequence))


def _on_disk(num_bytes: int) -> int:
    return -(-num_bytes // _DISK_BLOCK_BYTES) * _DISK_BLOCK_BYTES


def _lock(path: str):
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise LogInUseError(
            f"Delta log {os.path.dirname(path)!r} is written by process "
            f"{holder}. Expected: one writer per directory. Give each trainer "
            "its own log directory, or stop the other one."
        ) from None
    failpoints.hit("delta_log.before_lock_write")
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        failpoints.hit("delta_log.before_directory_fsync")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_quietly(path: str) -> None:
    failpoints.hit("delta_log.before_remove")
    try:
        os.remove(path)
    except FileNotFoundError:
        pass
