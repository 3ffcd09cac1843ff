"""Row files: base rows of an export, readable by stock TensorFlow ops.

A file is self-contained (docs/formats.md, "Row file"):

```
offset    bytes  field
0         8      magic "MTFROWS" and a zero byte
8         4      version, uint32, 1 or 2
12        4      width, numbers of a row, uint32
16        8      n, rows, uint64
24        4      L, bytes of the layout, uint32
28        4      reserved, zero
32        L      layout, ASCII (`packed_rows`)
32+L      8 n    ids, int64
32+L+8n   4 n w  rows, row after row
end-4     4      CRC32C of everything before, uint32
```

Version 1 has no layout (L = 0); its numbers are float32 weights. The numbers of
version 2 are the int32 words that the layout describes.

All numbers are little-endian. The graph that loads a file has no CRC32C op;
it compares the FarmHash fingerprint of the whole file with a constant.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from typing import NamedTuple

import google_crc32c
import numpy as np
import tensorflow as tf

from monolith_tf import failpoints
from monolith_tf.serving.graph.packed_rows import PackedRows

MAGIC = b"MTFROWS\0"
VERSION = 1
PACKED_VERSION = 2
HEADER_BYTES = 32

# Bytes per file: large enough that ten million rows need some tens of files,
# small enough for memory.
TARGET_BYTES = 32 << 20

_HEADER = struct.Struct("<8sIIQII")


@dataclasses.dataclass(frozen=True)
class RowFile:
    """One written file: path, number of rows, fingerprint.

    `start` is the offset of the ids.
    """

    path: str
    num_rows: int
    fingerprint: bytes
    start: int = HEADER_BYTES


def encode(ids: np.ndarray, rows: np.ndarray, layout: str = "") -> bytes:
    """Returns the bytes of a row file.

    Args:
        ids: int64 `[n]`.
        rows: float32 `[n, dim]`; with a layout int32 `[n, width]`.
        layout: `PackedRows.layout` of packed rows.

    Returns:
        The content, CRC32C included.
    """
    num_rows, width = rows.shape
    version = PACKED_VERSION if layout else VERSION
    body = b"".join(
        (
            _HEADER.pack(MAGIC, version, width, num_rows, len(layout), 0),
            layout.encode("ascii"),
            np.ascontiguousarray(ids, "<i8").tobytes(),
            np.ascontiguousarray(rows, "<i4" if layout else "<f4").tobytes(),
        )
    )
    return body + struct.pack("<I", google_crc32c.value(body))


class RowFileContent(NamedTuple):
    """Content of a row file.

    Attributes:
        ids: int64 `[n]`.
        rows: float32 `[n, dim]`, unpacked.
        layout: Their layout in the file: `PackedRows.layout`.
    """

    ids: np.ndarray
    rows: np.ndarray
    layout: str


def decode(content: bytes, name: str = "row file") -> RowFileContent:
    """Returns the ids and rows of a row file.

    Args:
        content: The whole file.
        name: Name of the file in errors.

    Raises:
        ValueError: The file is truncated, of another kind or version, or
            damaged.
    """
    if len(content) < HEADER_BYTES + 4:
        raise ValueError(
            f"{name}: {len(content)} bytes, a row file has at least "
            f"{HEADER_BYTES + 4}. The file is truncated: export again."
        )
    magic, version, width, num_rows, layout_bytes, zero = _HEADER.unpack_from(
        content
    )
    if magic != MAGIC or version not in (VERSION, PACKED_VERSION):
        raise ValueError(
            f"{name}: at offset 0: magic {magic!r} version {version}, "
            f"expected {MAGIC!r} version {VERSION} or {PACKED_VERSION}."
        )
    if zero or (layout_bytes > 0) != (version == PACKED_VERSION):
        raise ValueError(
            f"{name}: at offset 24: {layout_bytes} bytes of layout, then "
            f"{zero}; version {version} has "
            f"{'none' if version == VERSION else 'some'}, then 0. Read it with "
            "the version of monolith-tf that wrote it."
        )
    start = HEADER_BYTES + layout_bytes
    expected = start + num_rows * (8 + 4 * width) + 4
    if len(content) != expected:
        raise ValueError(
            f"{name}: {len(content)} bytes, {num_rows} rows of width {width} "
            f"have {expected}. The file is truncated: export again."
        )
    (crc,) = struct.unpack_from("<I", content, expected - 4)
    actual = google_crc32c.value(content[:-4])
    if crc != actual:
        raise ValueError(
            f"{name}: at offset {expected - 4}: CRC32C {crc:#010x}, the "
            f"content has {actual:#010x}. The file is damaged: export again."
        )
    packed = _packed(content[HEADER_BYTES:start], width, name)
    dtype = "<f4" if version == VERSION else "<i4"
    ids = np.frombuffer(content, "<i8", num_rows, start)
    rows = np.frombuffer(content, dtype, num_rows * width, start + 8 * num_rows)
    rows = packed.unpack(rows.reshape(num_rows, width))
    return RowFileContent(ids, rows.numpy(), packed.layout)


def _packed(layout: bytes, width: int, name: str) -> PackedRows:
    """Returns the layout of the rows of a file."""
    text = layout.decode("ascii", "backslashreplace")
    try:
        packed = PackedRows(text or f"float32[{width}]")
    except ValueError as error:
        raise ValueError(f"{name}: at offset {HEADER_BYTES}: {error}") from None
    if packed.width != width or (text and packed.dtype == tf.float32):
        raise ValueError(
            f"{name}: at offset {HEADER_BYTES}: layout {text!r} has "
            f"{packed.width} {packed.dtype.name} per row. Expected {width} "
            "int32, as in the header. Export again."
        )
    return packed


class RowFileWriter:
    """Writes chunks of rows to files of about equal size.

    Args:
        prefix: Path of the files without their number.
        packed: Layout of the rows.
        target_bytes: Size at which a file is written.
    """

    def __init__(
        self, prefix: str, packed: PackedRows, target_bytes: int = TARGET_BYTES
    ):
        """Keeps the arguments; `write` makes the files."""
        self._prefix = prefix
        self._layout = "" if packed.dtype == tf.float32 else packed.layout
        self._rows_per_file = max(1, target_bytes // (8 + 4 * packed.width))
        self._ids = []
        self._rows = []
        self._pending = 0
        self.files = []

    def write(self, ids: np.ndarray, rows: np.ndarray) -> None:
        """Adds rows.

        Args:
            ids: int64 `[n]`.
            rows: Packed, `[n, width]`.
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
        """Writes the remaining rows and returns the files in order."""
        if self._pending:
            self._flush()
        return self.files

    def _flush(self) -> None:
        content = encode(
            np.concatenate(self._ids), np.concatenate(self._rows), self._layout
        )
        path = f"{self._prefix}_{len(self.files):05d}.rows"
        with open(path, "wb") as file:
            failpoints.hit("row_file.before_write")
            file.write(content)
            file.flush()
            failpoints.hit("row_file.before_fsync")
            os.fsync(file.fileno())
        fingerprint = tf.fingerprint(tf.constant([content])).numpy().tobytes()
        self.files.append(
            RowFile(
                path,
                self._pending,
                fingerprint,
                HEADER_BYTES + len(self._layout),
            )
        )
        self._ids, self._rows, self._pending = [], [], 0
