"""The bytes of a manifest."""

import dataclasses

import pytest

from monolith_tf.errors import FormatError
from monolith_tf.snapshots.manifest import File
from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.manifest import Part
from monolith_tf.snapshots.manifest import SavedTable

MANIFEST = Manifest(
    number=7,
    snapshot_id="0f" * 16,
    parent=6,
    parent_id="0e" * 16,
    step=1000,
    event_time=1_700_000_000,
    created_unix_seconds=1.5,
    tables=(SavedTable("movie", 0, {"dim": 2}, "format=2", "none", False),),
    parts=(Part("rows-00", 100, 1, 0, 1, 3, 77, 4, 5, 10, 2),),
    dense=(File("dense.index", 30, 2),),
    positions={"clicks": [3, 4]},
    versions={"monolith_tf": "0.1.0"},
)


def test_golden_bytes_of_the_frame():
    content = MANIFEST.to_bytes()
    assert content[:16].hex() == "4d5446534e41500a0100000000000000"
    assert int.from_bytes(content[16:24], "little") == len(content) - 28
    assert content[24:47] == b'{\n "created_unix_second'
    assert content[-4:].hex() == "f1e372f0"


def test_what_was_written_is_read():
    assert Manifest.from_bytes(MANIFEST.to_bytes(), "M") == MANIFEST
    assert MANIFEST.num_bytes == 130
    assert MANIFEST.num_rows == 10
    assert not MANIFEST.is_full
    assert dataclasses.replace(MANIFEST, parent=None).is_full


def test_every_flipped_byte_is_found():
    content = MANIFEST.to_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x20
        with pytest.raises(FormatError, match="^M: at offset [0-9]+: "):
            Manifest.from_bytes(bytes(damaged), "M")


def test_every_shorter_and_longer_file_is_refused():
    content = MANIFEST.to_bytes()
    for length in range(len(content)):
        with pytest.raises(FormatError, match="bytes; expected"):
            Manifest.from_bytes(content[:length], "M")
    with pytest.raises(FormatError, match="bytes; expected"):
        Manifest.from_bytes(content + b" ", "M")


def test_another_version_is_refused():
    content = bytearray(MANIFEST.to_bytes())
    content[8] = 2
    with pytest.raises(FormatError, match="version 2; this program reads 1"):
        Manifest.from_bytes(bytes(content), "M")


def test_unknown_fields_are_refused():
    class Later(Manifest):
        pass

    text = MANIFEST.to_bytes()
    later = text[24:-4].replace(b'"number"', b'"nummer"')
    import struct

    import google_crc32c

    body = text[:24] + later
    body += struct.pack("<I", google_crc32c.value(body))
    with pytest.raises(FormatError, match="at offset 24: .*nummer"):
        Manifest.from_bytes(body, "M")
