"""The bytes of a row file."""

from __future__ import annotations

import numpy as np
import pytest

from monolith_tf.serving.graph import row_file

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


def test_the_bytes_of_a_row_file_never_change():
    content = row_file.encode(IDS, ROWS)
    assert content[:-4] == GOLDEN
    assert content[-4:].hex() == "f6f22de5"


def test_a_row_file_reads_back():
    ids, rows = row_file.decode(row_file.encode(IDS, ROWS))
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(rows, ROWS)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c[:20], "rows.bin: 20 bytes.*cut short"),
        (lambda c: c[:-1], "rows.bin: 67 bytes.*have 68.*cut short"),
        (lambda c: b"X" + c[1:], "at offset 0: magic"),
        (lambda c: c[:8] + b"\2" + c[9:], "version 2, expected .* version 1"),
        (lambda c: c[:40] + b"\7" + c[41:], "at offset 64: CRC32C"),
    ],
)
def test_a_damaged_row_file_is_refused_and_named(damage, message):
    content = row_file.encode(IDS, ROWS)
    with pytest.raises(ValueError, match=message):
        row_file.decode(damage(content), "rows.bin")


def test_rows_of_many_chunks_come_in_files_of_equal_size(tmp_path):
    writer = row_file.RowFileWriter(
        str(tmp_path / "table"), dim=2, target_bytes=3 * 16
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
    np.testing.assert_array_equal(np.concatenate([i for i, _ in read]), ids)
    np.testing.assert_array_equal(np.concatenate([r for _, r in read]), rows)


def test_a_table_without_rows_has_no_file(tmp_path):
    writer = row_file.RowFileWriter(str(tmp_path / "table"), dim=2)
    assert writer.close() == []
    assert list(tmp_path.iterdir()) == []
