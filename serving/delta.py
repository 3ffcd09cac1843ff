"""Chunks of deltas, in memory and as bytes of a file.

A delta is the final states of the ids of one shard that changed in `(from_cut,
to_cut]`. It is split into one or more chunks, each with its own sequence
number. A chunk is the content of one request and of one file of the log.
docs/formats.md specifies the bytes; a golden-bytes test checks them.
"""

from __future__ import annotations

import dataclasses
import os
import struct

import google_crc32c
import numpy as np

from monolith_tf.errors import FormatError

MAGIC = b"MTFDELTA"
FORMAT_VERSION = 1
HEADER_FORMAT = 1

# magic, format version, number of blocks, bytes of the file, 1 if more chunks
# of the delta follow;
# the CRC32C of these 28 bytes follows.
_PROLOGUE = struct.Struct("<8sIIQI")
_CRC = struct.Struct("<I")
_PROLOGUE_BYTES = _PROLOGUE.size + _CRC.size
# kind, CRC32C of kind, length and payload; then the bytes of the payload.
_BLOCK = struct.Struct("<IIQ")
_BLOCK_COVERED = struct.Struct("<IQ")
# The eight numbers of the request's header, number of tables, dense bytes.
_HEADER = struct.Struct("<8qQQ")
# bytes of the name, dim, number of ids, number of rows.
_TABLE = struct.Struct("<IIQQ")

_HEADER_BLOCK = 1
_TABLE_BLOCK = 2
_DENSE_BLOCK = 3


class CorruptDeltaError(FormatError):
    """A delta file that cannot be read; none of it was used.

    Attributes:
        path: Path of the file.
        offset: Byte where reading stopped.
    """

    def __init__(self, path: str, offset: int, reason: str):
        """Makes the message from file, offset and reason."""
        super().__init__(
            f"Delta file {path!r} is rejected at byte {offset}: {reason}. "
            "None of it was applied. Delete the file; the pusher then writes "
            "a new full export."
        )
        self.path = path
        self.offset = offset


@dataclasses.dataclass(frozen=True, eq=False)
class TableChunk:
    """The changed ids of one table.

    Args:
        name: Name of the table.
        ids: int64 `[n]`, distinct.
        exists: bool `[n]`; False marks a tombstone, the row was removed.
        rows: float32 `[m, dim]`, one row per id that exists, in order of `ids`.
    """

    name: str
    ids: np.ndarray
    exists: np.ndarray
    rows: np.ndarray

    def __post_init__(self):
        """Checks dtypes and shapes."""
        if self.ids.dtype != np.int64 or self.ids.ndim != 1:
            raise ValueError(
                f"`ids` of table {self.name!r} must be int64 [n]. Received: "
                f"{self.ids.dtype} {self.ids.shape}."
            )
        if self.exists.dtype != np.bool_ or self.exists.shape != self.ids.shape:
            raise ValueError(
                f"`exists` of table {self.name!r} must be bool "
                f"{self.ids.shape}. Received: {self.exists.dtype} "
                f"{self.exists.shape}."
            )
        num_rows = int(np.count_nonzero(self.exists))
        if (
            self.rows.dtype != np.float32
            or self.rows.ndim != 2
            or self.rows.shape[0] != num_rows
        ):
            raise ValueError(
                f"`rows` of table {self.name!r} must be float32 "
                f"[{num_rows}, dim], one row per id that exists. Received: "
                f"{self.rows.dtype} {self.rows.shape}."
            )

    @property
    def dim(self) -> int:
        """Number of floats in a row."""
        return int(self.rows.shape[1])

    @property
    def num_tombstones(self) -> int:
        """Number of ids that the trainer's table has no row of."""
        return int(self.ids.size - self.rows.shape[0])


@dataclasses.dataclass(frozen=True, eq=False)
class DeltaChunk:
    """The content of one request to the delta signature.

    Args:
        export_id: The export that this delta applies to.
        generation: Generation of the shard; of the dense stream, the export id.
        shard: 0 to num_shards - 1 for rows, num_shards for dense variables.
        num_shards: Number of shards of the trainer.
        from_cut: The delta holds what changed after this cut ...
        to_cut: ... up to and including this one.
        sequence: Number of this chunk in its stream; the first is 1.
        tables: Changed ids by table.
        dense: Little-endian bytes of all dense variables, or empty.
        more: True if chunks with later sequences belong to the same delta.
    """

    export_id: int
    generation: int
    shard: int
    num_shards: int
    from_cut: int
    to_cut: int
    sequence: int
    tables: tuple[TableChunk, ...] = ()
    dense: bytes = b""
    more: bool = False

    @property
    def header(self) -> tuple[int, ...]:
        """The eight int64 of the request's `header`."""
        return (
            HEADER_FORMAT,
            self.export_id,
            self.generation,
            self.shard,
            self.num_shards,
            self.from_cut,
            self.to_cut,
            self.sequence,
        )

    @property
    def num_ids(self) -> int:
        """Number of ids over all tables, tombstones included."""
        return sum(int(table.ids.size) for table in self.tables)

    @property
    def num_tombstones(self) -> int:
        """Number of tombstones over all tables."""
        return sum(table.num_tombstones for table in self.tables)

    @property
    def num_bytes(self) -> int:
        """Size of its file in bytes."""
        blocks = [_HEADER.size, *map(_table_bytes, self.tables)]
        if self.dense:
            blocks.append(len(self.dense))
        return _PROLOGUE_BYTES + sum(blocks) + _BLOCK.size * len(blocks)

    def __eq__(self, other: object) -> bool:
        """Returns True if their files are equal, byte for byte."""
        if not isinstance(other, DeltaChunk):
            return NotImplemented
        return encode(self) == encode(other)

    __hash__ = None


def encode(chunk: DeltaChunk) -> bytes:
    """Returns the bytes of the file of `chunk`."""
    blocks = [
        _block(
            _HEADER_BLOCK,
            _HEADER.pack(*chunk.header, len(chunk.tables), len(chunk.dense)),
        )
    ]
    for table in chunk.tables:
        name = table.name.encode("utf-8")
        payload = b"".join(
            (
                _TABLE.pack(
                    len(name), table.dim, table.ids.size, table.rows.shape[0]
                ),
                name,
                table.ids.astype("<i8").tobytes(),
                table.exists.astype("u1").tobytes(),
                table.rows.astype("<f4").tobytes(),
            )
        )
        blocks.append(_block(_TABLE_BLOCK, payload))
    if chunk.dense:
        blocks.append(_block(_DENSE_BLOCK, chunk.dense))
    num_bytes = _PROLOGUE_BYTES + sum(len(block) for block in blocks)
    prologue = _PROLOGUE.pack(
        MAGIC, FORMAT_VERSION, len(blocks), num_bytes, int(chunk.more)
    )
    return b"".join(
        (prologue, _CRC.pack(google_crc32c.value(prologue)), *blocks)
    )


def decode(data: bytes, path: str = "<bytes>") -> DeltaChunk:
    """Returns the chunk of a file, or rejects the whole file.

    Args:
        data: All bytes of the file.
        path: Name of the file in errors.

    Raises:
        CorruptDeltaError: The file has an unknown version, a wrong length or a
            wrong checksum.
    """
    return _Reader(data, path).chunk()


def read(path: str | os.PathLike) -> DeltaChunk:
    """Reads one delta file.

    Raises:
        CorruptDeltaError: As for `decode`.
        OSError: The file cannot be opened.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        return decode(file.read(), path)


def _table_bytes(table: TableChunk) -> int:
    name_bytes = len(table.name.encode("utf-8"))
    return _TABLE.size + name_bytes + 9 * table.ids.size + table.rows.nbytes


def _block(kind: int, payload: bytes) -> bytes:
    covered = _BLOCK_COVERED.pack(kind, len(payload))
    crc = google_crc32c.extend(google_crc32c.value(covered), payload)
    return _BLOCK.pack(kind, crc, len(payload)) + payload


class _Reader:
    """Reads the blocks of one file in order, checking each before use."""

    def __init__(self, data: bytes, path: str):
        self._data = data
        self._path = path
        self._offset = 0

    def chunk(self) -> DeltaChunk:
        num_blocks = self._prologue()
        header = self._header(self._payload(_HEADER_BLOCK))
        *numbers, num_tables, dense_bytes = header
        if num_blocks != 1 + num_tables + (dense_bytes > 0):
            self._refuse(
                f"{num_blocks} blocks do not fit {num_tables} tables and "
                f"{dense_bytes} dense bytes"
            )
        tables = tuple(
            self._table(self._payload(_TABLE_BLOCK)) for _ in range(num_tables)
        )
        dense = self._payload(_DENSE_BLOCK) if dense_bytes else b""
        if len(dense) != dense_bytes:
            self._refuse(
                f"{len(dense)} dense bytes where the header says {dense_bytes}"
            )
        if self._offset != len(self._data):
            self._refuse(
                f"{len(self._data) - self._offset} bytes follow the last block"
            )
        return DeltaChunk(
            *numbers[1:], tables=tables, dense=dense, more=self._more
        )

    def _refuse(self, reason: str):
        raise CorruptDeltaError(self._path, self._offset, reason)

    def _prologue(self) -> int:
        if len(self._data) < _PROLOGUE_BYTES:
            self._refuse(
                f"{len(self._data)} bytes, but the first {_PROLOGUE_BYTES} "
                "describe the file"
            )
        magic, version, num_blocks, num_bytes, more = _PROLOGUE.unpack_from(
            self._data
        )
        if magic != MAGIC:
            self._refuse(f"it starts with {magic!r}, not {MAGIC!r}")
        if version != FORMAT_VERSION:
            self._refuse(
                f"format version {version}; this reader knows version "
                f"{FORMAT_VERSION}"
            )
        (crc,) = _CRC.unpack_from(self._data, _PROLOGUE.size)
        found = google_crc32c.value(self._data[: _PROLOGUE.size])
        if crc != found:
            self._refuse(f"checksum {crc:08x} stored, {found:08x} found")
        if more not in (0, 1):
            self._refuse(f"the word at byte 24 is {more}, not 0 or 1")
        self._more = bool(more)
        if num_bytes != len(self._data):
            self._refuse(
                f"{len(self._data)} bytes long, {num_bytes} were written"
            )
        self._offset = _PROLOGUE_BYTES
        return num_blocks

    def _payload(self, expected_kind: int) -> bytes:
        if len(self._data) - self._offset < _BLOCK.size:
            self._refuse("the file ends before the next block")
        kind, crc, length = _BLOCK.unpack_from(self._data, self._offset)
        start = self._offset + _BLOCK.size
        if length > len(self._data) - start:
            self._refuse(
                f"a block of {length} bytes, {len(self._data) - start} are left"
            )
        payload = self._data[start : start + length]
        covered = _BLOCK_COVERED.pack(kind, length)
        found = google_crc32c.extend(google_crc32c.value(covered), payload)
        if crc != found:
            self._refuse(f"checksum {crc:08x} stored, {found:08x} found")
        if kind != expected_kind:
            self._refuse(f"block kind {kind}, expected {expected_kind}")
        self._offset = start + length
        return payload

    def _header(self, payload: bytes) -> tuple[int, ...]:
        if len(payload) != _HEADER.size:
            self._refuse(
                f"a header of {len(payload)} bytes, expected {_HEADER.size}"
            )
        header = _HEADER.unpack(payload)
        if header[0] != HEADER_FORMAT:
            self._refuse(
                f"header format {header[0]}; this reader knows format "
                f"{HEADER_FORMAT}"
            )
        return header

    def _table(self, payload: bytes) -> TableChunk:
        if len(payload) < _TABLE.size:
            self._refuse(f"a table block of {len(payload)} bytes")
        name_bytes, dim, num_ids, num_rows = _TABLE.unpack_from(payload)
        expected = _TABLE.size + name_bytes + 9 * num_ids + 4 * dim * num_rows
        if len(payload) != expected:
            self._refuse(
                f"a table block of {len(payload)} bytes; its counts need "
                f"{expected}"
            )
        at = _TABLE.size
        try:
            name = payload[at : at + name_bytes].decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("a table name that is not UTF-8")
        at += name_bytes
        ids = np.frombuffer(payload, "<i8", num_ids, at)
        at += 8 * num_ids
        exists = np.frombuffer(payload, "u1", num_ids, at)
        at += num_ids
        if np.any(exists > 1) or int(exists.sum()) != num_rows:
            self._refuse(f"exists flags of table {name!r} do not add up")
        rows = np.frombuffer(payload, "<f4", num_rows * dim, at)
        return TableChunk(
            name=name,
            ids=ids.astype(np.int64, copy=False),
            exists=exists.astype(np.bool_),
            rows=rows.astype(np.float32, copy=False).reshape(num_rows, dim),
        )
