"""The manifest of a snapshot: the file that makes its parts one snapshot.

`docs/formats.md` specifies the bytes.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

import google_crc32c

from monolith_tf.errors import FormatError

MAGIC = b"MTFSNAP\n"
FORMAT = 1
# Magic, version, zeros, bytes of the text.
_PROLOGUE = struct.Struct("<8sIIQ")
_CRC = struct.Struct("<I")


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a snapshot.

    Attributes:
        name: Name within the folder of the snapshot.
        num_bytes: Its size.
        crc32c: Checksum of all its bytes.
    """

    name: str
    num_bytes: int
    crc32c: int


@dataclasses.dataclass(frozen=True)
class Part(File):
    """The rows of one shard.

    Attributes:
        table_set: Number of the table set in the snapshot, from 0.
        shard: The shard, 0 to num_shards - 1.
        num_shards: Number of shards of the table set.
        generation: Generation of the shard.
        from_cut: Cut of the parent; -1 in a full snapshot.
        to_cut: Cut of the snapshot: deltas of this generation continue here.
        num_rows: Rows in the file.
        num_removed: Removed ids in the file.
    """

    table_set: int
    shard: int
    num_shards: int
    generation: int
    from_cut: int
    to_cut: int
    num_rows: int
    num_removed: int


@dataclasses.dataclass(frozen=True)
class SavedTable:
    """A table of a snapshot.

    Attributes:
        name: Name of the table.
        table_set: Number of its table set in the snapshot.
        config: `TableConfig.get_config()` without what JSON lacks.
        layout: Layout of its rows, as checkpoints describe it.
        filter: Layout of its admission counts, as checkpoints describe it.
        is_whole: Whether every snapshot has all its rows, as increments have
            of a table that does not track changes.
    """

    name: str
    table_set: int
    config: dict[str, Any]
    layout: str
    filter: str
    is_whole: bool


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The description of one snapshot and of its files.

    Attributes:
        number: Number of the snapshot in its directory.
        snapshot_id: 32 hexadecimal digits, random; also in every part.
        parent: Number of the snapshot that this one continues; None for a full
            one.
        parent_id: The `snapshot_id` of the parent.
        step: Number of training steps, as the caller counts them.
        event_time: The latest event time of the tables, seconds since the
            epoch.
        created_unix_seconds: When the manifest was written.
        tables: The tables.
        parts: The files of rows.
        dense: The files of the TensorFlow checkpoint of everything else.
        positions: Positions of streams, by name, as JSON.
        versions: Versions of this library and of TensorFlow.

    Example:
    >>> manifest = Manifest(1, "0" * 32, None, None, 7, 0, 0.0, (), (), (),
    ...                     {"clicks": 12}, {})
    >>> Manifest.from_bytes(manifest.to_bytes(), "MANIFEST") == manifest
    True
    """

    number: int
    snapshot_id: str
    parent: int | None
    parent_id: str | None
    step: int
    event_time: int
    created_unix_seconds: float
    tables: tuple[SavedTable, ...]
    parts: tuple[Part, ...]
    dense: tuple[File, ...]
    positions: dict[str, Any]
    versions: dict[str, str]

    @property
    def is_full(self) -> bool:
        """True if it needs no other snapshot."""
        return self.parent is None

    @property
    def num_bytes(self) -> int:
        """Size of its files, without the manifest."""
        return sum(file.num_bytes for file in (*self.parts, *self.dense))

    @property
    def num_rows(self) -> int:
        """Number of rows in its files."""
        return sum(part.num_rows for part in self.parts)

    def to_bytes(self) -> bytes:
        """Returns the content of the file."""
        text = json.dumps(
            dataclasses.asdict(self), indent=1, sort_keys=True
        ).encode()
        body = _PROLOGUE.pack(MAGIC, FORMAT, 0, len(text)) + text
        return body + _CRC.pack(google_crc32c.value(body))

    @classmethod
    def from_bytes(cls, content: bytes, path: str) -> Manifest:
        """Reads the content of the file.

        Args:
            content: Bytes of the file.
            path: Its name, for errors.

        Raises:
            FormatError: The bytes are damaged, or of another version.
        """
        minimum = _PROLOGUE.size + _CRC.size
        if len(content) < minimum:
            raise _damaged(
                path, 0, f"{len(content)} bytes; expected at least {minimum}"
            )
        magic, version, _, length = _PROLOGUE.unpack_from(content)
        if magic != MAGIC:
            raise _damaged(path, 0, f"magic {magic!r}; expected {MAGIC!r}")
        if version != FORMAT:
            raise _damaged(
                path, 8, f"version {version}; this program reads {FORMAT}"
            )
        end = _PROLOGUE.size + length
        if len(content) != end + _CRC.size:
            raise _damaged(
                path,
                16,
                f"{len(content)} bytes; expected {end + _CRC.size}",
            )
        (expected,) = _CRC.unpack_from(content, end)
        found = google_crc32c.value(content[:end])
        if found != expected:
            raise _damaged(
                path, end, f"CRC32C {found:#010x}; expected {expected:#010x}"
            )
        try:
            return cls._from_fields(json.loads(content[_PROLOGUE.size : end]))
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(path, _PROLOGUE.size, str(error)) from error

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Manifest:
        fields["tables"] = tuple(SavedTable(**x) for x in fields["tables"])
        fields["parts"] = tuple(Part(**x) for x in fields["parts"])
        fields["dense"] = tuple(File(**x) for x in fields["dense"])
        return cls(**fields)


def _damaged(path: str, offset: int, what: str) -> FormatError:
    return FormatError(
        f"{path}: at offset {offset}: {what}. The manifest is damaged or of "
        "another program; use another snapshot."
    )
