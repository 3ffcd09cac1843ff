"""The ops of snapshots: what they do in the wrong order, and with bad input."""

import itertools

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops

NUMBERS = itertools.count()
ID = b"0123456789abcdef"


@pytest.fixture
def handle():
    """A table set of its own with 100 rows."""
    handle = ops.table_set_handle(f"snapshots {next(NUMBERS)}")
    ops.table_create(
        handle,
        attributes=mt.TableConfig("movie", dim=2).op_attributes(0, 1),
        generation=7,
    )
    ids = tf.range(100, dtype=tf.int64)
    ops.assign(handle, ids, tf.ones([100, 2]), int64(5), table="movie")
    yield handle
    tf.raw_ops.DestroyResourceOp(resource=handle)


def int64(value):
    return tf.constant(value, tf.int64)


def test_what_was_written_is_read_and_counted(handle, tmp_path):
    path = str(tmp_path / "new folder/rows")
    moment = ops.snapshot_begin(handle, int64(-1))
    assert [int(x) for x in moment] == [7, -1, 1]
    num_bytes, crc, rows, removed, _ = ops.snapshot_write(handle, path, ID)
    assert num_bytes == tf.io.gfile.stat(path).length
    assert (int(rows), int(removed)) == (100, 0)
    assert 0 <= crc < 2**32
    ops.clear(handle, table="movie")
    assert ops.snapshot_read(handle, path).numpy().tolist() == [100, 0]
    assert ops.size(handle, table="movie") == 100


def test_writing_without_a_moment_is_refused(handle, tmp_path):
    path = str(tmp_path / "rows")
    with pytest.raises(
        tf.errors.FailedPreconditionError, match="Begin one first"
    ):
        ops.snapshot_write(handle, path, ID)
    ops.snapshot_begin(handle, int64(-1))
    ops.snapshot_abort(handle)
    with pytest.raises(
        tf.errors.FailedPreconditionError, match="Begin one first"
    ):
        ops.snapshot_write(handle, path, ID)
    assert not tf.io.gfile.exists(path)


def test_a_parent_that_is_not_known_is_out_of_range(handle):
    with pytest.raises(tf.errors.OutOfRangeError, match="full snapshot"):
        ops.snapshot_begin(handle, int64(3))


@pytest.mark.parametrize("text", [b"", b"short", b"0123456789abcdefg"])
def test_an_id_of_another_length_is_refused(handle, tmp_path, text):
    ops.snapshot_begin(handle, int64(-1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="16 bytes"):
        ops.snapshot_write(handle, str(tmp_path / "rows"), text)


def test_inputs_that_are_not_scalars_are_refused(handle):
    for call in (
        lambda: ops.snapshot_begin(handle, int64([1, 2])),
        lambda: ops.snapshot_write(handle, ["a", "b"], ID),
        lambda: ops.snapshot_write(handle, "a", [ID, ID]),
        lambda: ops.snapshot_read(handle, ["a", "b"]),
    ):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="must be a scalar"
        ):
            call()


def test_a_file_that_is_none_is_refused(handle, tmp_path):
    with pytest.raises(
        tf.errors.NotFoundError, match="open for reading failed"
    ):
        ops.snapshot_read(handle, str(tmp_path / "none"))
    path = tmp_path / "text"
    path.write_text("no part of a snapshot" * 20)
    with pytest.raises(tf.errors.DataLossError, match="at offset 0: it is not"):
        ops.snapshot_read(handle, str(path))
    assert ops.size(handle, table="movie") == 100


def test_a_folder_that_cannot_be_made_fails_the_write(handle, tmp_path):
    (tmp_path / "file").write_text("")
    ops.snapshot_begin(handle, int64(-1))
    with pytest.raises(tf.errors.OpError, match="file"):
        ops.snapshot_write(handle, str(tmp_path / "file/rows"), ID)
    # The next one may begin.
    ops.snapshot_begin(handle, int64(-1))
    ops.snapshot_write(handle, str(tmp_path / "rows"), ID)


def test_a_server_without_the_set_says_so(tmp_path):
    handle = ops.table_set_handle("of nobody")
    for call in (
        lambda: ops.snapshot_begin(handle, int64(-1)),
        lambda: ops.snapshot_write(handle, str(tmp_path / "rows"), ID),
        lambda: ops.snapshot_read(handle, str(tmp_path / "rows")),
    ):
        with pytest.raises(
            tf.errors.FailedPreconditionError, match="of nobody"
        ):
            call()
