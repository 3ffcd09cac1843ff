"""Durable files of snapshots."""

import os
import unittest.mock

import google_crc32c
import pytest
import tensorflow as tf

from monolith_tf.snapshots import files


def test_a_file_has_its_name_only_once_it_is_on_disk(tmp_path):
    path = str(tmp_path / "file")
    calls = []
    fsync, replace = os.fsync, os.replace
    with (
        unittest.mock.patch.object(
            os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd))
        ),
        unittest.mock.patch.object(
            os, "replace", lambda *x: (calls.append("rename"), replace(*x))
        ),
    ):
        files.write_durably(path, b"abc")
    assert calls == ["fsync", "rename", "fsync"]
    assert files.read(path) == b"abc"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = str(tmp_path / "file")
    files.write_durably(path, b"old")
    with (
        unittest.mock.patch.object(
            os, "fsync", side_effect=OSError(28, "full")
        ),
        pytest.raises(OSError, match="full"),
    ):
        files.write_durably(path, b"new")
    assert files.read(path) == b"old"


def test_other_file_systems_are_tensorflows():
    path = "ram://snapshots/file"
    assert not files.is_local(path)
    files.write_durably(path, b"abc")
    files.write_durably(path, b"defg")
    files.sync_directory("ram://snapshots")
    files.sync_file(path)
    assert files.read(path) == b"defg"
    assert files.checksum(path) == (4, google_crc32c.value(b"defg"))


def test_file_urls_are_local(tmp_path):
    path = f"file://{tmp_path}/file"
    assert files.is_local(path)
    files.write_durably(path, b"abc")
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_a_missing_file_is_not_found(tmp_path):
    for function in (files.read, files.checksum):
        with pytest.raises(tf.errors.NotFoundError, match="none"):
            function(str(tmp_path / "none"))
