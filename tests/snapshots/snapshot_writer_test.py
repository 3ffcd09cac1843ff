"""Snapshots are whole, of one moment, and continue one another."""

import re
import unittest.mock

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.checkpoint import durable_files


@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_snapshot_comes_back_bit_for_bit(make_model, tmp_path, num_shards):
    model = make_model(num_shards)
    model.train(5)
    expected = model.state()
    manifest = mt.snapshots.save(
        model.root, tmp_path, step=5, positions={"clicks": {"0": 12}}
    )
    assert manifest.is_full
    assert len(manifest.parts) == num_shards
    assert manifest.num_rows == len(expected["movie"]) + len(expected["user"])
    other = make_model(num_shards, seed=9)
    other.train(2)
    restored = mt.snapshots.restore(other.root, tmp_path)
    assert restored == manifest
    assert restored.step == 5
    assert restored.event_time == 1000
    assert restored.positions == {"clicks": {"0": 12}}
    assert other.state() == expected
    # Slots and the counts of admission came too: both go on alike.
    other._random, model._random = (
        make_model(seed=4)._random,
        make_model(seed=4)._random,
    )
    model.train(4)
    other.train(4)
    assert other.state() == model.state()


def test_increments_hold_what_changed_and_chains_come_back(
    make_model, tmp_path
):
    model = make_model(2)
    writer = mt.snapshots.SnapshotWriter(
        model.root, tmp_path, keep=2, full_every=4
    )
    states = {}
    for step in range(1, 11):
        model.train()
        manifest = writer.save(step)
        states[manifest.number] = model.state()
        assert manifest.is_full == (step in (1, 5, 9))
        assert manifest.parent == (None if manifest.is_full else step - 1)
    store = mt.snapshots.SnapshotStore(tmp_path)
    # Two are kept, with the one that they continue.
    assert store.finished() == [9, 10]
    other = make_model(3)
    assert mt.snapshots.restore(other.root, tmp_path).number == 10
    assert other.state() == states[10]
    assert mt.snapshots.restore(other.root, tmp_path, number=9).number == 9
    assert other.state() == states[9]


def test_an_increment_is_small_and_keeps_deletions(tmp_path):
    table = mt.Table(mt.TableConfig("movie", dim=2))
    table.assign(range(1000), tf.ones([1000, 2]))
    root = tf.train.Checkpoint(table=table)
    writer = mt.snapshots.SnapshotWriter(root, tmp_path)
    full = writer.save()
    table.assign([5], [[2.0, 3.0]])
    table.remove([7, 8])
    increment = writer.save()
    (part,) = increment.parts
    assert (part.num_rows, part.num_removed) == (1, 2)
    assert part.num_bytes < full.parts[0].num_bytes / 20
    table.clear()
    mt.snapshots.restore(root, tmp_path)
    assert table.size() == 998
    assert table.lookup([5]).numpy().tolist() == [[2.0, 3.0]]
    assert not table.lookup_with_exists([7, 8])[1].numpy().any()


def test_training_after_the_moment_does_not_show(make_model, tmp_path):
    model = make_model(2)
    model.train(5)
    writer = mt.snapshots.SnapshotWriter(model.root, tmp_path)
    store = mt.snapshots.SnapshotStore(tmp_path)
    for _ in range(3):
        moment = writer.begin(step=5)
        expected = model.state()
        model.train(3)
        assert moment.number not in store.finished()
        writer.finish(moment)
        other = make_model(1)
        mt.snapshots.restore(other.root, tmp_path)
        assert other.state() == expected


def test_after_a_restore_the_next_snapshot_is_full(make_model, tmp_path):
    model = make_model()
    model.train()
    writer = mt.snapshots.SnapshotWriter(model.root, tmp_path)
    writer.save()
    assert not writer.save().is_full
    mt.snapshots.restore(model.root, tmp_path)
    assert writer.save().is_full


def test_a_failed_snapshot_leaves_the_last_and_loses_nothing(
    make_model, tmp_path
):
    model = make_model()
    model.train()
    writer = mt.snapshots.SnapshotWriter(model.root, tmp_path)
    writer.save(1)
    model.train()
    with (
        unittest.mock.patch.object(
            durable_files, "write_durably", side_effect=OSError(28, "disk full")
        ),
        pytest.raises(OSError, match="disk full"),
    ):
        writer.save(2)
    assert mt.snapshots.latest(tmp_path).number == 1
    model.train()
    third = writer.save(3)
    assert third.parent == 1
    other = make_model()
    mt.snapshots.restore(other.root, tmp_path)
    assert other.state() == model.state()
    # The folder without a manifest went.
    assert mt.snapshots.SnapshotStore(tmp_path).numbers() == [1, 3]


def test_a_begun_snapshot_gives_way_to_the_next(make_model, tmp_path):
    model = make_model()
    model.train()
    writer = mt.snapshots.SnapshotWriter(model.root, tmp_path)
    writer.begin()
    model.train()
    writer.save()
    other = make_model()
    mt.snapshots.restore(other.root, tmp_path)
    assert other.state() == model.state()


def test_tensorflows_file_systems_work(make_model):
    model = make_model()
    model.train()
    directory = "ram://snapshots-of-a-test"
    writer = mt.snapshots.SnapshotWriter(model.root, directory)
    writer.save()
    model.train()
    writer.save()
    other = make_model(2)
    mt.snapshots.restore(other.root, directory)
    assert other.state() == model.state()


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(
        TypeError, match="another object that TensorFlow tracks"
    ):
        mt.snapshots.SnapshotWriter(3, tmp_path)
    with pytest.raises(ValueError, match="needs an object with tables"):
        mt.snapshots.SnapshotWriter(tf.train.Checkpoint(), tmp_path)
    root = tf.train.Checkpoint(table=mt.Table(mt.TableConfig("movie", dim=1)))
    for name in ("keep", "full_every"):
        with pytest.raises(ValueError, match=re.escape(f"{name}=0")):
            mt.snapshots.SnapshotWriter(root, tmp_path, **{name: 0})
