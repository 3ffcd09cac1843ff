"""Reads part files without tables: for `dump`, `diff` and audits.

The reader is independent of the C++ that writes and restores them
(`ops/cc/snapshot/`). `docs/formats.md` specifies the bytes.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Iterator

import google_crc32c
import numpy as np
import tensorflow as tf

from monolith_tf.errors import FormatError

MAGIC = b"MTFPART\n"
FORMAT = 1
TABLE, ROWS, REMOVED, FILTER, REQUESTS, INDEX = range(1, 7)
_HEADER = struct.Struct("<8sIIII16sqqqII")
_BLOCK = struct.Struct("<IIIIQQII")
_TRAILER = struct.Struct("<8sQII")
_END_MAGIC = b"MTFPEND\n"
_PROLOGUE = struct.Struct("<IIqqqq")


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of a part file.

    Attributes:
        offset: Where its header begins.
        kind: `TABLE`, `ROWS`, `REMOVED`, `FILTER` or `REQUESTS`.
        table: Number of its table.
        first_partition: First partition of its ids.
        end_partition: The partition after the last.
        count: Number of entries.
        num_bytes: Bytes of the payload, after the header.
        crc32c: Checksum of the payload.
    """

    offset: int
    kind: int
    table: int
    first_partition: int
    end_partition: int
    count: int
    num_bytes: int
    crc32c: int


@dataclasses.dataclass(frozen=True)
class PartTable:
    """A table of a part file.

    Attributes:
        name: Its name.
        row_width: Floats of a row: weights, then slots.
        is_full: Whether the file has all its rows on this shard.
        global_step: Number of the latest update.
        event_time: Latest event time, seconds since the epoch.
        num_rows: Rows on this shard at the moment of the snapshot.
    """

    name: str
    row_width: int
    is_full: bool
    global_step: int
    event_time: int
    num_rows: int


class PartFile:
    """One part file; its blocks are read on demand.

    Args:
        path: The file.

    Raises:
        FormatError: The file is damaged or of another kind; the message has
            the file and the offset.
        tf.errors.NotFoundError: There is no such file.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Reads header, index and tables."""
        self.path = os.fspath(path)
        self.num_bytes = tf.io.gfile.stat(self.path).length
        smallest = _HEADER.size + _BLOCK.size + _TRAILER.size
        if self.num_bytes < smallest:
            raise self._damaged(
                0, f"{self.num_bytes} bytes; expected at least {smallest}"
            )
        header = self._read(0, _HEADER.size)
        fields = _HEADER.unpack(header)
        if fields[0] != MAGIC:
            raise self._damaged(0, f"magic {fields[0]!r}; expected {MAGIC!r}")
        if fields[1] != FORMAT:
            raise self._damaged(
                8, f"version {fields[1]}; this program reads {FORMAT}"
            )
        self._check(0, header[:-4], fields[-1], "header")
        self.shard, self.num_shards = fields[2:4]
        self.snapshot_id = fields[5].hex()
        self.generation, self.from_cut, self.to_cut = fields[6:9]
        self.blocks = self._read_index()
        self.tables = [
            self._table(block) for block in self.blocks if block.kind == TABLE
        ]

    def payload(self, block: Block) -> bytes:
        """Returns the payload of a block.

        Raises:
            FormatError: Its header or its checksum differs.
        """
        content = self._read(block.offset, _BLOCK.size + block.num_bytes)
        header, payload = content[: _BLOCK.size], content[_BLOCK.size :]
        if self._block(block.offset, header) != block:
            raise self._damaged(block.offset, "a block differs from the index")
        self._check(block.offset, payload, block.crc32c, "block")
        return payload

    def rows(
        self, table: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields the rows of a table, a block at a time.

        Args:
            table: Name of the table.

        Yields:
            Ids int64 `[n]`, stamps int64 `[n]`, rows float32 `[n, row_width]`.

        Raises:
            FormatError: A block is damaged.
        """
        for block in self._blocks_of(table, ROWS):
            content = self.payload(block)
            n = block.count
            width = self.tables[block.table].row_width
            yield (
                np.frombuffer(content, "<i8", n),
                np.frombuffer(content, "<i8", n, 8 * n),
                np.frombuffer(content, "<f4", n * width, 16 * n).reshape(
                    n, width
                ),
            )

    def removed(self, table: str) -> np.ndarray:
        """Returns the removed ids of a table, int64 `[n]`.

        Raises:
            FormatError: A block is damaged.
        """
        found = [
            np.frombuffer(self.payload(block), "<i8")
            for block in self._blocks_of(table, REMOVED)
        ]
        return np.concatenate([np.empty([0], np.int64), *found])

    def _blocks_of(self, table: str, kind: int) -> Iterator[Block]:
        for block in self.blocks:
            if block.kind == kind and self.tables[block.table].name == table:
                yield block

    def _read_index(self) -> list[Block]:
        place = self.num_bytes - _TRAILER.size
        trailer = self._read(place, _TRAILER.size)
        magic, offset, _, crc = _TRAILER.unpack(trailer)
        if magic != _END_MAGIC:
            raise self._damaged(place, "the end is missing: not finished")
        self._check(place, trailer[:-4], crc, "trailer")
        if not _HEADER.size <= offset <= place - _BLOCK.size:
            raise self._damaged(place, "the index lies outside of the file")
        index = self._block(offset, self._read(offset, _BLOCK.size))
        if index.kind != INDEX or index.num_bytes != (
            place - offset - _BLOCK.size
        ):
            raise self._damaged(offset, "the index does not fill the end")
        content = self.payload(index)
        blocks = []
        expected = _HEADER.size
        for begin in range(0, len(content), 8 + _BLOCK.size):
            (found,) = struct.unpack_from("<Q", content, begin)
            entry = content[begin + 8 : begin + 8 + _BLOCK.size]
            if found != expected or len(entry) != _BLOCK.size:
                raise self._damaged(
                    offset, f"a block at {found} where {expected} is next"
                )
            blocks.append(self._block(found, entry))
            expected = found + _BLOCK.size + blocks[-1].num_bytes
        if expected != offset:
            raise self._damaged(offset, "the index does not list every block")
        return blocks

    def _block(self, offset: int, content: bytes) -> Block:
        fields = _BLOCK.unpack(content)
        self._check(offset, content[:-4], fields[-1], "header of a block")
        kind, table, first, end, count, num_bytes, crc = fields[:-1]
        return Block(offset, kind, table, first, end, count, num_bytes, crc)

    def _table(self, block: Block) -> PartTable:
        content = self.payload(block)
        if len(content) < _PROLOGUE.size:
            raise self._damaged(block.offset, "a table is cut short")
        length, is_full, width, step, time, rows = _PROLOGUE.unpack_from(
            content
        )
        name = content[_PROLOGUE.size :]
        if len(name) != length or width < 1:
            raise self._damaged(block.offset, "a table is malformed")
        return PartTable(
            name.decode(errors="replace"), width, is_full == 1, step, time, rows
        )

    def _read(self, offset: int, size: int) -> bytes:
        with tf.io.gfile.GFile(self.path, "rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) != size:
            raise self._damaged(offset, f"the file ends before {size} bytes")
        return content

    def _check(self, offset: int, content: bytes, crc: int, what: str) -> None:
        found = google_crc32c.value(content)
        if found != crc:
            raise self._damaged(
                offset, f"{what}: CRC32C {found:#010x}; expected {crc:#010x}"
            )

    def _damaged(self, offset: int, what: str) -> FormatError:
        return FormatError(
            f"{self.path}: at offset {offset}: {what}. The file is damaged or "
            "of another program; use another snapshot."
        )
