"""The checkpoints of a folder, in whatever state a crash left it."""

import logging

import pytest
import tensorflow as tf

from monolith_tf.checkpoint.checkpoint_folder import CheckpointFolder
from monolith_tf.errors import CheckpointError


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints; the last is the latest."""
    checkpoint = tf.train.Checkpoint(x=tf.Variable(tf.range(100)))
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path), 3)
    for number in (2, 9, 10):
        manager.save(number)
    return tmp_path


def numbers(folder):
    return [
        int(x.rpartition("-")[2]) for x in CheckpointFolder(folder).prefixes()
    ]


def latest(folder):
    return int(tf.train.latest_checkpoint(str(folder)).rpartition("-")[2])


def test_checkpoints_are_ordered_by_number(folder):
    assert numbers(folder) == [10, 9, 2]
    assert numbers(folder / "none") == []


def test_a_file_without_a_checkpoint_counts_as_use(tmp_path):
    assert not CheckpointFolder(tmp_path).has_been_used()
    assert not CheckpointFolder(tmp_path / "none").has_been_used()
    (tmp_path / "notes.txt").touch()
    assert not CheckpointFolder(tmp_path).has_been_used()
    (tmp_path / "ckpt-3.data-00000-of-00001").touch()
    assert CheckpointFolder(tmp_path).has_been_used()


def test_a_state_that_names_a_checkpoint_stays(folder, caplog):
    before = (folder / "checkpoint").read_bytes()
    CheckpointFolder(folder).repair_state()
    CheckpointFolder(folder).repair_state(verify=True)
    assert (folder / "checkpoint").read_bytes() == before
    assert not caplog.records


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\xff\x00garbled",
        b'model_checkpoint_path: "ckpt-77"\n',
        b'model_checkpoint_path: "ckp',
    ],
)
def test_a_state_of_no_use_is_written_anew(folder, content, caplog):
    state = folder / "checkpoint"
    state.unlink() if content is None else state.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        CheckpointFolder(folder).repair_state()
    assert latest(folder) == 10
    assert "The newest checkpoint is" in caplog.text
    found = tf.train.get_checkpoint_state(str(folder))
    assert len(found.all_model_checkpoint_paths) == 3


def damage_of(folder, number):
    return CheckpointFolder(folder).damage(str(folder / f"ckpt-{number}"))


def spoil(path, how):
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
        return
    if how == "torn":
        del content[len(content) // 2 :]
    elif how == "empty":
        content.clear()
    else:
        content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["missing", "torn", "empty", "flipped"])
@pytest.mark.parametrize("name", ["index", "data-00000-of-00001"])
def test_a_damaged_checkpoint_is_found_and_passed_over(
    folder, how, name, caplog
):
    assert damage_of(folder, 10) is None
    spoil(folder / f"ckpt-10.{name}", how)
    assert damage_of(folder, 10) is not None
    with caplog.at_level(logging.ERROR):
        CheckpointFolder(folder).repair_state(verify=True)
    assert latest(folder) == 9
    assert "ckpt-10" in caplog.text


def test_a_folder_without_a_whole_checkpoint_keeps_its_state(folder, caplog):
    for number in numbers(folder):
        spoil(folder / f"ckpt-{number}.data-00000-of-00001", "torn")
    before = (folder / "checkpoint").read_bytes()
    with caplog.at_level(logging.ERROR):
        CheckpointFolder(folder).repair_state(verify=True)
    assert "The newest whole checkpoint is None" in caplog.text
    assert (folder / "checkpoint").read_bytes() == before


def test_a_whole_checkpoint_is_required_where_files_are(folder):
    CheckpointFolder(folder).require_whole()
    CheckpointFolder(folder / "none").require_whole()
    for number in (9, 10):
        spoil(folder / f"ckpt-{number}.index", "empty")
    CheckpointFolder(folder).require_whole()
    assert latest(folder) == 2
    spoil(folder / "ckpt-2.index", "missing")
    with pytest.raises(CheckpointError, match="none is whole. Received"):
        CheckpointFolder(folder).require_whole()
