"""Training resumes from the newest whole checkpoint, or says that none is."""

import pathlib
import warnings

import pytest
import tensorflow as tf

from monolith_tf.checkpoint import checkpoint_state
from monolith_tf.checkpoint.durable_manager import DurableManager
from monolith_tf.checkpoint.traced_checkpoint import TracedCheckpoint
from monolith_tf.errors import CheckpointError


@pytest.fixture
def folder(tmp_path):
    """A directory with the checkpoints 1, 2 and 3."""
    folder = tmp_path / "checkpoints"
    checkpoint = TracedCheckpoint(value=tf.Variable(tf.range(1000)))
    manager = DurableManager(checkpoint, str(folder), max_to_keep=3)
    for number in (1, 2, 3):
        manager.save(number)
    return folder


def flip(path: pathlib.Path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def tear(path: pathlib.Path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: pathlib.Path):
    path.write_bytes(b"")


def garble(path: pathlib.Path):
    path.write_bytes(b"\xff\x00 no checkpoint")


DAMAGES = (flip, tear, empty, garble, pathlib.Path.unlink)


def test_a_directory_without_checkpoints_is_a_fresh_one(tmp_path):
    assert checkpoint_state.newest_whole(tmp_path) is None
    assert checkpoint_state.newest_whole(tmp_path / "none") is None


def test_the_named_checkpoint_is_taken_without_a_warning(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = checkpoint_state.newest_whole(folder)
    assert found == str(folder / "ckpt-3")


@pytest.mark.parametrize("damage", [tear, empty, garble, pathlib.Path.unlink])
def test_a_damaged_state_file_is_written_anew(folder, damage):
    damage(folder / "checkpoint")
    if damage is tear:
        (folder / "checkpoint").write_bytes(b'model_checkpoint_path: "ck')
    with pytest.warns(RuntimeWarning, match="resumes from .*ckpt-3"):
        found = checkpoint_state.newest_whole(folder)
    assert found == str(folder / "ckpt-3")
    assert tf.train.latest_checkpoint(folder) == found


def test_a_state_file_that_names_nothing_is_damaged(folder):
    (folder / "checkpoint").write_text("all_model_checkpoint_paths: 'a'")
    with pytest.warns(RuntimeWarning, match="it names no checkpoint"):
        assert checkpoint_state.newest_whole(folder) == str(folder / "ckpt-3")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["index", "data-00000-of-00002"])
def test_the_newest_whole_checkpoint_replaces_a_damaged_one(
    folder, name, damage
):
    damage(folder / f"ckpt-3.{name}")
    with pytest.warns(
        RuntimeWarning, match=r"(?s)ckpt-3: .+ resumes from .*ckpt-2\."
    ):
        found = checkpoint_state.newest_whole(folder)
    assert found == str(folder / "ckpt-2")
    assert tf.train.latest_checkpoint(folder) == found


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_never_begins_at_nothing_beside_damaged_checkpoints(folder, damage):
    for path in folder.glob("*.data-*"):
        damage(path)
    with pytest.raises(
        CheckpointError, match=r"(?s)is whole, expected .+Received: .+ckpt-1: "
    ):
        checkpoint_state.newest_whole(folder)
    with pytest.warns(RuntimeWarning, match="because allow_fresh is set"):
        assert checkpoint_state.newest_whole(folder, allow_fresh=True) is None


def test_a_state_file_alone_is_no_fresh_directory(tmp_path):
    (tmp_path / "checkpoint").write_text("model_checkpoint_path: 'ckpt-1'")
    with pytest.raises(CheckpointError, match="is whole"):
        checkpoint_state.newest_whole(tmp_path)


def test_forget_removes_the_state_file(folder):
    checkpoint_state.forget(str(folder))
    checkpoint_state.forget(str(folder))
    assert tf.train.latest_checkpoint(folder) is None
    assert list(checkpoint_state.numbered(str(folder))) == [1, 2, 3]


def test_the_state_of_another_file_system_is_written_by_tensorflow():
    folder = "ram://checkpoint_state_test"
    checkpoint = TracedCheckpoint(value=tf.Variable(1))
    manager = DurableManager(checkpoint, folder, max_to_keep=2)
    paths = [manager.save(number) for number in (1, 2, 3)]
    assert list(checkpoint_state.numbered(folder).values()) == paths[1:]
    assert checkpoint_state.newest_whole(folder) == paths[2]
