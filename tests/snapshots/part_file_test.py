"""The second reader of part files finds what the C++ wrote."""

import pathlib

import numpy as np
import pytest

import monolith_tf as mt
from monolith_tf.errors import FormatError
from monolith_tf.snapshots.contents import rows_of
from monolith_tf.snapshots.dump import dump
from monolith_tf.snapshots.dump import is_of_snapshot
from monolith_tf.snapshots.part_file import PartFile


@pytest.fixture
def saved(make_model, tmp_path):
    """A model and its directory, with a full snapshot and an increment."""
    model = make_model(2)
    model.train(3)
    writer = mt.snapshots.SnapshotWriter(model.root, tmp_path)
    writer.save()
    model.train()
    writer.save()
    return model, tmp_path


def test_it_finds_the_rows_that_the_tables_hold(saved):
    model, directory = saved
    store = mt.snapshots.SnapshotStore(directory)
    found = rows_of(store, 2)
    state = model.state()
    for table in ("movie", "user"):
        assert found[table].keys() == state[table].keys()
    rows = {}
    for number in (1, 2):
        for part in store.load(number).parts:
            file = PartFile(store.path(number, part.name))
            assert (file.shard, file.num_shards) == (part.shard, 2)
            assert file.generation == part.generation
            assert file.from_cut == part.from_cut
            for id_ in file.removed("movie"):
                rows.pop(int(id_), None)
            for ids, stamps, floats in file.rows("movie"):
                assert floats.shape == (len(ids), 6)
                assert (stamps % 2**32 == 1000).all()
                rows.update(zip(ids.tolist(), floats, strict=True))
    assert rows.keys() == state["movie"].keys()
    for id_, row in state["movie"].items():
        assert np.array_equal(rows[id_][:3], np.float32(row))


def test_every_flipped_byte_is_found(saved, tmp_path):
    _, directory = saved
    path = pathlib.Path(directory) / "snapshot-00000002/rows-00-00001-of-00002"
    content = path.read_bytes()
    copy = tmp_path / "copy"
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x08
        copy.write_bytes(bytes(damaged))
        with pytest.raises(FormatError, match="copy: at offset"):
            file = PartFile(copy)
            for block in file.blocks:
                file.payload(block)


def test_every_shorter_file_is_refused(saved, tmp_path):
    _, directory = saved
    path = pathlib.Path(directory) / "snapshot-00000002/rows-00-00001-of-00002"
    content = path.read_bytes()
    copy = tmp_path / "copy"
    for length in range(0, len(content), 11):
        copy.write_bytes(content[:length])
        with pytest.raises(FormatError, match="copy: at offset"):
            PartFile(copy)


def test_dump_shows_both_kinds_of_files(saved):
    _, directory = saved
    folder = pathlib.Path(directory) / "snapshot-00000002"
    assert is_of_snapshot(folder / "MANIFEST")
    assert not is_of_snapshot(folder / "dense.index")
    assert not is_of_snapshot(folder)
    manifest = "\n".join(dump(folder / "MANIFEST"))
    assert "manifest of a snapshot, format 1" in manifest
    assert "  parent: 1\n" in manifest
    part = "\n".join(dump(folder / "rows-00-00000-of-00002", max_ids=2))
    assert "  shard: 0 of 2\n" in part
    assert "  cuts: after 1, up to 2\n" in part
    assert part.count(": stamp 1000, [") == 2  # of movies
    assert part.count(": stamp 0, [") == 2  # of users, without times
