"""Durable files of snapshots."""

import os
import unittest.mock

import google_crc32c
import pytest
import tensorflow as tf

from monolith_tf.checkpoint import durable_files


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
        durable_files.write_durably(path, b"abc")
    assert calls == ["fsync", "rename", "fsync"]
    assert durable_files.read(path) == b"abc"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = str(tmp_path / "file")
    durable_files.write_durably(path, b"old")
    with (
        unittest.mock.patch.object(
            os, "fsync", side_effect=OSError(28, "full")
        ),
        pytest.raises(OSError, match="full"),
    ):
        durable_files.write_durably(path, b"new")
    assert durable_files.read(path) == b"old"


def test_other_file_systems_are_tensorflows():
    path = "ram://snapshots/file"
    assert not durable_files.is_local(path)
    durable_files.write_durably(path, b"abc")
    durable_files.write_durably(path, b"defg")
    durable_files.sync_directory("ram://snapshots")
    durable_files.sync_file(path)
    assert durable_files.read(path) == b"defg"
    assert durable_files.checksum(path) == (4, google_crc32c.value(b"defg"))


def test_file_urls_are_local(tmp_path):
    path = f"file://{tmp_path}/file"
    assert durable_files.is_local(path)
    durable_files.write_durably(path, b"abc")
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_a_missing_file_is_not_found(tmp_path):
    for function in (durable_files.read, durable_files.checksum):
        with pytest.raises(tf.errors.NotFoundError, match="none"):
            function(str(tmp_path / "none"))
