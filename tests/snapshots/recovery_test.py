"""Recoveries: exact ones, and those that keep what servers still have."""

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.placement.sharding import owners_of
from monolith_tf.placement.table_set import servers_of
from monolith_tf.snapshots import restoring


def lose(model, *shards):
    """Loses shards, as a server that was killed does."""
    for shard in shards:
        device, handle = servers_of(model.table_set)[shard]
        with tf.device(device):
            tf.raw_ops.DestroyResourceOp(resource=handle)


def rows_of_shards(model, states, shards):
    """The rows of a state that belong to some shards."""
    kept = {"weight": states["weight"]}
    for name in ("movie", "user"):
        ids = list(states[name])
        found = owners_of(
            tf.constant(ids, tf.int64), model.table_set.num_shards
        )
        kept[name] = {
            key: states[name][key]
            for key, owner in zip(ids, found.numpy().tolist(), strict=True)
            if owner in shards
        }
    return kept


@pytest.fixture
def crashed(make_model, tmp_path):
    """A model that went on for two steps after its last snapshot."""
    model = make_model(3)
    writer = mt.snapshots.SnapshotWriter(model.root, tmp_path)
    model.train(3)
    writer.save(step=3)
    model.train(2)
    writer.save(step=5)
    saved = model.state()
    model.train(2)
    return model, saved, tmp_path


def test_an_exact_recovery_takes_every_shard_back(make_model, crashed):
    _, saved, directory = crashed
    model = make_model(3)
    recovery = mt.snapshots.recover(model.root, directory)
    assert model.state() == saved
    assert recovery.manifest.step == 5
    assert recovery.kept == ()
    assert recovery.read == ((0, 0), (0, 1), (0, 2))
    assert (recovery.lost_steps, recovery.lost_seconds) == (0, 0.0)


@pytest.mark.parametrize("lost", [(), (1,), (0, 2)])
def test_a_partial_recovery_reads_what_was_lost(make_model, crashed, lost):
    old, saved, directory = crashed
    latest = old.state()
    generations = old.table_set.generations()
    lose(old, *lost)
    model = make_model(3)
    recovery = mt.snapshots.recover(model.root, directory, partial=True)
    kept = [shard for shard in range(3) if shard not in lost]
    assert recovery.kept == tuple((0, shard) for shard in kept)
    assert recovery.read == tuple((0, shard) for shard in lost)
    state = model.state()
    assert state["weight"] == saved["weight"]
    for name in ("movie", "user"):
        expected = {
            **rows_of_shards(model, latest, kept)[name],
            **rows_of_shards(model, saved, lost)[name],
        }
        assert state[name] == expected
    for shard, generation in enumerate(model.table_set.generations()):
        assert (generation == generations[shard]) == (shard in kept)


def test_what_was_lost_is_counted(make_model, tmp_path):
    model = make_model(2)
    ids = tf.range(100, dtype=tf.int64)
    for step in range(1, 8):
        model.movie.apply_gradients(ids, tf.ones([100, 3]), step=step)
        if step == 4:
            mt.snapshots.save(model.root, tmp_path, step=step)
    lose(model, 1)
    recovery = mt.snapshots.recover(make_model(2).root, tmp_path, partial=True)
    assert recovery.lost_steps == 3
    assert recovery.lost_seconds >= 0.0


def test_all_shards_are_read_where_none_can_be_kept(make_model, crashed):
    old, saved, directory = crashed
    lose(old, 0, 1, 2)
    model = make_model(3)
    recovery = mt.snapshots.recover(model.root, directory, partial=True)
    assert recovery.kept == ()
    assert model.state() == saved


def test_another_number_of_servers_keeps_none(make_model, crashed):
    _, saved, directory = crashed
    model = make_model(2)
    recovery = mt.snapshots.recover(model.root, directory, partial=True)
    assert recovery.kept == ()
    assert model.state() == saved


def test_a_recovered_model_goes_on_with_snapshots(make_model, crashed):
    old, _, directory = crashed
    lose(old, 1)
    model = make_model(3)
    mt.snapshots.recover(model.root, directory, partial=True)
    writer = mt.snapshots.SnapshotWriter(model.root, directory)
    assert writer.save(step=6).is_full
    model.train(1)
    assert not writer.save(step=7).is_full
    other = make_model(1)
    mt.snapshots.restore(other.root, directory)
    assert other.state() == model.state()


def test_a_failed_recovery_can_be_repeated(make_model, crashed, monkeypatch):
    old, saved, directory = crashed
    lose(old, 1)
    model = make_model(3)

    def fail(*_):
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(restoring.Restorer, "_read_shard", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            mt.snapshots.recover(model.root, directory, partial=True)
    with pytest.raises(tf.errors.AbortedError, match="is being restored"):
        model.movie.lookup(tf.range(100, dtype=tf.int64))
    recovery = mt.snapshots.recover(model.root, directory, partial=True)
    assert recovery.kept == ((0, 0), (0, 2))
    assert model.state()["weight"] == saved["weight"]


def test_an_empty_directory_recovers_nothing(make_model, tmp_path):
    model = make_model()
    assert mt.snapshots.recover(model.root, tmp_path, partial=True) is None


def test_an_older_writer_makes_no_snapshot_any_more(
    make_model, tmp_path, monkeypatch
):
    model = make_model()
    writer = mt.snapshots.SnapshotWriter(model.root, tmp_path)
    writer.save(step=1)
    monkeypatch.setattr("monolith_tf.snapshots.writer_epoch.WRITER", 7)
    newer = mt.snapshots.WriterEpoch(tmp_path)
    monkeypatch.undo()
    with pytest.raises(mt.errors.FencedError, match=f"epoch {newer.number}"):
        writer.save(step=2)
    assert mt.snapshots.latest(tmp_path).step == 1
