"""Base rows of an export as files that a stock TensorFlow graph can read.

A file is self-contained (docs/formats.md, "Row file"):

```
offset  bytes      field
0       8          magic "MTFROWS" and a zero byte
8       4          version, uint32, 1
12      4          dim, uint32
16      8          n, rows, uint64
24      8          reserved, zero
32      8 n        ids, int64
32+8n   4 n dim    rows, float32, row after row
end-4   4          CRC32C of everything before, uint32
```

All numbers are little-endian. The graph that loads a file has no CRC32C op;
it compares the FarmHash fingerprint of the whole file with a constant.
"""

from __future__ import annotations

import dataclasses
import os
import struct

import google_crc32c
import numpy as np
import tensorflow as tf

MAGIC = b"MTFROWS\0"
VERSION = 1
HEADER_BYTES = 32

# Rows are gathered until a file has this many bytes: large enough that ten
# million rows need some tens of files, small enough to be held in memory.
TARGET_BYTES = 32 << 20

_HEADER = struct.Struct("<8sIIQQ")


@dataclasses.dataclass(frozen=True)
class RowFile:
    """One written file: where it is, how many rows, its fingerprint."""

    path: str
    num_rows: int
    fingerprint: bytes


def encode(ids: np.ndarray, rows: np.ndarray) -> bytes:
    """Bytes of a row file.

    Args:
      ids: int64 `[n]`.
      rows: float32 `[n, dim]`.

    Returns:
      The content, CRC32C included.
    """
    num_rows, dim = rows.shape
    body = b"".join(
        (
            _HEADER.pack(MAGIC, VERSION, dim, num_rows, 0),
            np.ascontiguousarray(ids, "<i8").tobytes(),
            np.ascontiguousarray(rows, "<f4").tobytes(),
        )
    )
    return body + struct.pack("<I", google_crc32c.value(body))


def decode(content: bytes, name: str = "row file"):
    """Ids and rows of a row file.

    Args:
      content: The whole file.
      name: What errors call the file.

    Returns:
      `(ids, rows)`: int64 `[n]` and float32 `[n, dim]`.

    Raises:
      ValueError: The file is cut short, of another kind or version, or damaged.
    """
    if len(content) < HEADER_BYTES + 4:
        raise ValueError(
            f"{name}: {len(content)} bytes, a row file has at least "
            f"{HEADER_BYTES + 4}. The file is cut short: export again."
        )
    magic, version, dim, num_rows, _ = _HEADER.unpack_from(content)
    if magic != MAGIC or version != VERSION:
        raise ValueError(
            f"{name}: at offset 0: magic {magic!r} version {version}, "
            f"expected {MAGIC!r} version {VERSION}."
        )
    expected = HEADER_BYTES + num_rows * (8 + 4 * dim) + 4
    if len(content) != expected:
        raise ValueError(
            f"{name}: {len(content)} bytes, {num_rows} rows of dim {dim} have "
            f"{expected}. The file is cut short: export again."
        )
    (crc,) = struct.unpack_from("<I", content, expected - 4)
    actual = google_crc32c.value(content[:-4])
    if crc != actual:
        raise ValueError(
            f"{name}: at offset {expected - 4}: CRC32C {crc:#010x}, the "
            f"content has {actual:#010x}. The file is damaged: export again."
        )
    ids = np.frombuffer(content, "<i8", num_rows, HEADER_BYTES)
    rows = np.frombuffer(
        content, "<f4", num_rows * dim, HEADER_BYTES + 8 * num_rows
    )
    return ids, rows.reshape(num_rows, dim)


class RowFileWriter:
    """Writes rows that come in chunks to files of about equal size.

    Args:
      prefix: Path of the files without their number.
      dim: Length of a row.
      target_bytes: A file is written when it has reached this size.
    """

    def __init__(self, prefix: str, dim: int, target_bytes: int = TARGET_BYTES):
        """Remembers where to write; no file yet."""
        self._prefix = prefix
        self._dim = dim
        self._rows_per_file = max(1, target_bytes // (8 + 4 * dim))
        self._ids = []
        self._rows = []
        self._pending = 0
        self.files = []

    def write(self, ids: np.ndarray, rows: np.ndarray) -> None:
        """Adds rows.

        Args:
          ids: int64 `[n]`.
          rows: float32 `[n, dim]`.
        """
        while len(ids):
            room = self._rows_per_file - self._pending
            self._ids.append(ids[:room])
            self._rows.append(rows[:room])
            self._pending += len(self._ids[-1])
            ids, rows = ids[room:], rows[room:]
            if self._pending == self._rows_per_file:
                self._flush()

    def close(self) -> list[RowFile]:
        """Writes what is left and returns the files in order."""
        if self._pending:
            self._flush()
        return self.files

    def _flush(self) -> None:
        content = encode(np.concatenate(self._ids), np.concatenate(self._rows))
        path = f"{self._prefix}_{len(self.files):05d}.rows"
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fingerprint = tf.fingerprint(tf.constant([content])).numpy().tobytes()
        self.files.append(RowFile(path, self._pending, fingerprint))
        self._ids, self._rows, self._pending = [], [], 0
