"""Small disks fill up and empty; files are damaged as they say."""

from __future__ import annotations

import errno

import disks
import pytest

from monolith_tf import failpoints

CONTENT = bytes(range(100))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def test_a_torn_file_keeps_its_first_part(file):
    disks.tear(file, 0.25)
    assert file.read_bytes() == CONTENT[:25]


def test_a_flip_changes_one_bit(file):
    disks.flip(file, position=1.0, bit=1)
    assert file.read_bytes() == CONTENT[:-1] + bytes([99 ^ 2])


def test_an_emptied_file_is_there_and_a_lost_one_is_not(file):
    disks.empty(file)
    assert file.read_bytes() == b""
    disks.lose(file)
    assert not file.exists()


def test_every_damage_has_a_name(file):
    assert set(disks.DAMAGES) == {"tear", "flip", "empty", "lose"}
    disks.DAMAGES["tear"](file)
    assert len(file.read_bytes()) == 50


@pytest.mark.e2e
def test_a_small_disk_is_full_during_the_block_and_empty_again(tmp_path):
    with disks.small_disk(tmp_path / "small", 1 << 20) as disk:
        file = disk.path / "file"

        def write():
            failpoints.hit("log.write")
            file.write_bytes(bytes(1 << 16))

        write()
        with disk.full("log.write"):
            file.unlink()
            with pytest.raises(OSError, match="No space left") as raised:
                file.write_bytes(bytes(1 << 17))
                write()
            assert raised.value.errno == errno.ENOSPC
        write()
        assert len(file.read_bytes()) == 1 << 16


@pytest.mark.e2e
def test_without_a_mount_failpoints_take_the_place_of_the_disk(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with disks.small_disk(tmp_path / "small") as disk:
        assert not disk.is_real
        with disk.full("log.write"):
            with pytest.raises(OSError, match="No space left"):
                failpoints.hit("log.write")
        failpoints.hit("log.write")
    assert "failpoints take its place" in capsys.readouterr().err
