"""The bytes of a row file."""

from __future__ import annotations

import struct

import google_crc32c
import numpy as np
import pytest

from monolith_tf.serving.graph import row_file
from monolith_tf.serving.graph.packed_rows import PackedRows

IDS = np.array([1, -1], np.int64)
ROWS = np.array([[1.0, -2.0], [0.5, 0.0]], np.float32)

# docs/formats.md, "Row file", has the same bytes.
GOLDEN = bytes.fromhex(
    "4d5446524f575300"  # magic
    "01000000"  # version
    "02000000"  # dim
    "0200000000000000"  # rows
    "0000000000000000"  # reserved
    "0100000000000000"
    "ffffffffffffffff"
    "0000803f000000c0"
    "0000003f00000000"
)

LAYOUT = "bfloat16[3] int8(127.0)[1] onebit(0.5)[2]"
PACKED = PackedRows(LAYOUT)
PACKED_ROWS = np.array(
    [[1.0, -2.0, 0.5, -3.0, -0.5, 0.5], [0.0, -0.0, 4.0, 127.0, 0.5, 0.5]],
    np.float32,
)

# So has it these.
PACKED_GOLDEN = bytes.fromhex(
    "4d5446524f575300"  # magic
    "02000000"  # version
    "04000000"  # width
    "0200000000000000"  # rows
    "29000000"  # bytes of the layout
    "00000000"  # reserved
    "62666c6f617431365b335d20"  # bfloat16[3]
    "696e7438283132372e30295b315d20"  # int8(127.0)[1]
    "6f6e6562697428302e35295b325d"  # onebit(0.5)[2]
    "0100000000000000"
    "ffffffffffffffff"
    "803f00c0003f0000fd00000002000000"
    "00000080804000007f00000003000000"
)


def test_the_bytes_of_a_row_file_never_change():
    content = row_file.encode(IDS, ROWS)
    assert content[:-4] == GOLDEN
    assert content[-4:].hex() == "f6f22de5"


def test_a_row_file_reads_back():
    ids, rows, layout = row_file.decode(row_file.encode(IDS, ROWS))
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(rows, ROWS)
    assert layout == "float32[2]"


def test_the_bytes_of_a_packed_row_file_never_change():
    content = row_file.encode(IDS, PACKED.pack(PACKED_ROWS).numpy(), LAYOUT)
    assert content[:-4] == PACKED_GOLDEN
    assert content[-4:].hex() == "bf55c108"


def test_a_packed_row_file_reads_back():
    content = row_file.encode(IDS, PACKED.pack(PACKED_ROWS).numpy(), LAYOUT)
    ids, rows, layout = row_file.decode(content)
    np.testing.assert_array_equal(ids, IDS)
    assert rows.tobytes() == PACKED_ROWS.tobytes()
    assert layout == LAYOUT


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c[:20], "rows.bin: 20 bytes.*truncated"),
        (lambda c: c[:-1], "rows.bin: 67 bytes.*have 68.*truncated"),
        (lambda c: b"X" + c[1:], "at offset 0: magic"),
        (lambda c: c[:8] + b"\3" + c[9:], "version 3, expected .* 1 or 2"),
        (lambda c: c[:8] + b"\2" + c[9:], "at offset 24: 0 bytes of layout"),
        (lambda c: c[:24] + b"\1" + c[25:], "at offset 24: 1 bytes of layout"),
        (lambda c: c[:31] + b"\1" + c[32:], "at offset 24: .*then 16777216"),
        (lambda c: c[:40] + b"\7" + c[41:], "at offset 64: CRC32C"),
    ],
)
def test_a_damaged_row_file_is_refused_and_named(damage, message):
    content = row_file.encode(IDS, ROWS)
    with pytest.raises(ValueError, match=message):
        row_file.decode(damage(content), "rows.bin")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("int4(0.5)[4]", "rows.bin: at offset 32: .*Received: 'int4"),
        ("int8(0.5)[4]\xe9", r"rows.bin: at offset 32: .*Received: .*\\xe9"),
        ("int8(0.5)[9]", r"layout 'int8\(0.5\)\[9\]' has 3 int32 per row. Exp"),
        ("float32[2]", "has 2 float32 per row. Expected 2 int32"),
    ],
)
def test_a_layout_that_is_unknown_or_does_not_fit_is_refused(layout, message):
    content = bytearray(row_file.encode(IDS, np.ones([2, 2], np.int32), "x"))
    content[24:33] = struct.pack("<II", len(layout), 0) + layout.encode("latin")
    content[-4:] = struct.pack("<I", google_crc32c.value(bytes(content[:-4])))
    with pytest.raises(ValueError, match=message):
        row_file.decode(bytes(content), "rows.bin")


def test_rows_of_many_chunks_come_in_files_of_equal_size(tmp_path):
    writer = row_file.RowFileWriter(
        str(tmp_path / "table"), PackedRows("float32[2]"), target_bytes=3 * 16
    )
    ids = np.arange(8, dtype=np.int64)
    rows = np.arange(16, dtype=np.float32).reshape(8, 2)
    for start in (0, 1, 5):
        end = {0: 1, 1: 5, 5: 8}[start]
        writer.write(ids[start:end], rows[start:end])
    files = writer.close()
    assert [file.num_rows for file in files] == [3, 3, 2]
    read = [
        row_file.decode((tmp_path / f"table_{i:05d}.rows").read_bytes())
        for i in range(3)
    ]
    np.testing.assert_array_equal(np.concatenate([r.ids for r in read]), ids)
    np.testing.assert_array_equal(np.concatenate([r.rows for r in read]), rows)


def test_a_table_without_rows_has_no_file(tmp_path):
    writer = row_file.RowFileWriter(
        str(tmp_path / "table"), PackedRows("float32[2]")
    )
    assert writer.close() == []
    assert list(tmp_path.iterdir()) == []
