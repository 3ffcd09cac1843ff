"""The directory of snapshots."""

import dataclasses
import pathlib

import pytest

import monolith_tf as mt
from monolith_tf.errors import CheckpointError
from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.manifest import Part


def manifest_of(number, parent=None, generation=7):
    return Manifest(
        number=number,
        snapshot_id=f"{number:032x}",
        parent=parent,
        parent_id=None if parent is None else f"{parent:032x}",
        step=number,
        event_time=0,
        created_unix_seconds=0.0,
        tables=(),
        parts=(
            Part(
                name="rows",
                num_bytes=0,
                crc32c=0,
                table_set=0,
                shard=0,
                num_shards=1,
                generation=generation,
                from_cut=-1 if parent is None else parent,
                to_cut=number,
                num_rows=0,
                num_removed=0,
            ),
        ),
        dense=(),
        positions={},
        versions={},
    )


@pytest.fixture
def store(tmp_path):
    return mt.snapshots.SnapshotStore(tmp_path)


def publish(store, manifest):
    folder = pathlib.Path(store.folder(manifest.number))
    folder.mkdir()
    (folder / "rows").write_bytes(b"")
    store.publish(manifest)


def test_a_folder_is_a_snapshot_once_it_has_a_manifest(store):
    publish(store, manifest_of(1))
    pathlib.Path(store.folder(2)).mkdir()
    assert store.numbers() == [1, 2]
    assert store.finished() == [1]
    assert store.latest().number == 1
    with pytest.raises(CheckpointError, match="no snapshot 2"):
        store.load(2)


def test_pruning_keeps_what_is_continued(store):
    publish(store, manifest_of(1))
    publish(store, manifest_of(2))
    publish(store, manifest_of(3, parent=2))
    pathlib.Path(store.folder(4)).mkdir()
    publish(store, manifest_of(5, parent=3))
    # 6 is being written.
    pathlib.Path(store.folder(6)).mkdir()
    assert store.prune(1) == [1, 4]
    assert store.numbers() == [2, 3, 5, 6]
    assert store.prune(2) == []
    with pytest.raises(ValueError, match="Received: 0"):
        store.prune(0)


def test_pruning_removes_nothing_where_nothing_is_whole(store):
    pathlib.Path(store.folder(1)).mkdir()
    assert store.prune(1) == []
    assert store.numbers() == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parent_id": "f" * 32}, "its parent was ffff"),
        ({"parent": 2}, "its parent is 2"),
        ({"parts": ()}, "it has parts of the shards"),
    ],
)
def test_a_child_that_does_not_continue_its_parent_is_refused(
    store, change, message
):
    publish(store, manifest_of(1))
    publish(store, dataclasses.replace(manifest_of(2, parent=1), **change))
    with pytest.raises(CheckpointError, match=message):
        store.chain(2)


@pytest.mark.parametrize("change", [{"generation": 8}, {"from_cut": 0}])
def test_an_increment_of_another_history_is_refused(store, change):
    publish(store, manifest_of(1))
    child = manifest_of(2, parent=1)
    (part,) = child.parts
    publish(
        store,
        dataclasses.replace(
            child, parts=(dataclasses.replace(part, **change),)
        ),
    )
    with pytest.raises(CheckpointError, match="and its parent ends at cut 1"):
        store.chain(2)
