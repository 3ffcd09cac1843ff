"""Restores: other numbers of servers, filters, damage."""

import logging
import pathlib
import shutil

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.errors import CheckpointError
from monolith_tf.errors import FormatError


@pytest.fixture
def saved(make_model, tmp_path):
    """Four snapshots, 1 and 3 full; and the state at each."""
    model = make_model(2)
    writer = mt.snapshots.SnapshotWriter(
        model.root, tmp_path, keep=9, full_every=2
    )
    states = {}
    for step in range(1, 5):
        model.train(2)
        states[writer.save(step).number] = model.state()
    return tmp_path, states


@pytest.mark.parametrize("num_shards", [1, 2, 5, 70])
def test_any_number_of_servers_restores(make_model, saved, num_shards):
    directory, states = saved
    other = make_model(num_shards)
    mt.snapshots.restore(other.root, directory)
    assert other.state() == states[4]


def test_named_tables_come_alone(make_model, saved):
    directory, states = saved
    other = make_model()
    mt.snapshots.restore(other.root, directory, tables=["user"])
    assert other.state() == {
        "weight": 0.0,
        "movie": {},
        "user": states[4]["user"],
    }


def test_tables_that_do_not_fit_are_refused_before_anything_changes(saved):
    directory, _ = saved
    with mt.TableSet():
        movie = mt.Table(mt.TableConfig("movie", dim=9))
        genre = mt.Table(mt.TableConfig("genre", dim=9))
    movie.assign([1], tf.ones([1, 9]))
    with pytest.raises(CheckpointError, match="has no table 'genre'"):
        mt.snapshots.restore(tf.train.Checkpoint(t=genre), directory)
    with pytest.raises(CheckpointError, match="do not fit table 'movie'"):
        mt.snapshots.restore(tf.train.Checkpoint(t=movie), directory)
    with pytest.raises(CheckpointError, match="The model has no table 'user'"):
        mt.snapshots.restore(
            tf.train.Checkpoint(t=movie), directory, tables=["user"]
        )
    assert movie.size() == 1
    movie.lookup([1])


def test_an_empty_directory_restores_nothing(make_model, tmp_path):
    model = make_model()
    assert mt.snapshots.restore(model.root, tmp_path) is None
    assert mt.snapshots.restore(model.root, tmp_path / "none") is None
    assert mt.snapshots.latest(tmp_path / "none") is None


def test_an_unknown_number_is_refused(make_model, saved):
    with pytest.raises(
        CheckpointError, match="no snapshot 8.*\\[1, 2, 3, 4\\]"
    ):
        mt.snapshots.restore(make_model().root, saved[0], number=8)


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGES = {
    "cut": cut,
    "emptied": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "flipped": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name",
    [
        "MANIFEST",
        "rows-00-00001-of-00002",
        "dense.index",
        "dense.data-00000-of-00001",
    ],
)
def test_the_newest_whole_snapshot_is_taken_and_damage_is_logged(
    make_model, saved, caplog, damage, name
):
    directory, states = saved
    folder = pathlib.Path(directory) / "snapshot-00000004"
    path = folder / name
    if not path.exists():
        path = sorted(folder.glob("dense.data-*"))[0]
    DAMAGES[damage](path)
    other = make_model()
    with caplog.at_level(logging.ERROR):
        assert mt.snapshots.restore(other.root, directory).number == 3
    assert other.state() == states[3]
    if not (damage == "missing" and name == "MANIFEST"):
        assert "Passing over snapshot 4" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_current_is_a_hint(make_model, saved, caplog, damage):
    directory, states = saved
    DAMAGES[damage](pathlib.Path(directory) / "CURRENT")
    other = make_model()
    with caplog.at_level(logging.ERROR):
        assert mt.snapshots.restore(other.root, directory).number == 4
    assert other.state() == states[4]
    assert "CURRENT names" in caplog.text


def test_damage_of_a_full_snapshot_takes_its_increments_too(make_model, saved):
    directory, states = saved
    DAMAGES["cut"](
        pathlib.Path(directory) / "snapshot-00000003/rows-00-00000-of-00002"
    )
    other = make_model()
    assert mt.snapshots.restore(other.root, directory).number == 2
    assert other.state() == states[2]


def test_training_never_begins_at_nothing_next_to_files(make_model, saved):
    directory, _ = saved
    for path in pathlib.Path(directory).glob("snapshot-*/MANIFEST"):
        path.unlink()
    other = make_model()
    with pytest.raises(CheckpointError, match="allow_fresh=True"):
        mt.snapshots.restore(other.root, directory)
    assert mt.snapshots.restore(other.root, directory, allow_fresh=True) is None


def test_missing_doubled_and_reordered_increments_are_refused_by_name(
    make_model, tmp_path
):
    model = make_model()
    writer = mt.snapshots.SnapshotWriter(model.root, tmp_path, keep=9)
    for _ in range(4):
        model.train()
        writer.save()
    store = mt.snapshots.SnapshotStore(tmp_path)
    folders = {n: pathlib.Path(store.folder(n)) for n in range(1, 5)}
    spare = tmp_path / "spare"
    # Missing.
    folders[3].rename(spare)
    with pytest.raises(CheckpointError, match="no snapshot 3"):
        store.check(4)
    # Doubled: another number's folder in its place.
    shutil.copytree(folders[2], folders[3])
    with pytest.raises(FormatError, match="is the manifest of snapshot 2"):
        store.check(4)
    shutil.rmtree(folders[3])
    spare.rename(folders[3])
    store.check(4, contents=True)
    # Parts of another snapshot.
    part = "rows-00-00000-of-00001"
    (folders[3] / part).rename(spare)
    shutil.copy(folders[2] / part, folders[3] / part)
    with pytest.raises(FormatError, match=f"snapshot-00000003/{part} has"):
        store.check(4, contents=True)
