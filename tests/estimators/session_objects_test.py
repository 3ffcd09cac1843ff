"""The servers and files of a session's snapshots, and what does not fit."""

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.errors import CheckpointError
from monolith_tf.estimators.session_objects import SessionObjects
from monolith_tf.placement.table_set import servers_of

v1 = tf.compat.v1


@pytest.fixture
def build():
    """Builds a table set per list of names in a graph, with a session."""
    sessions = []

    def build_graph(*groups, **config):
        graph = tf.Graph()
        with graph.as_default():
            for names in groups:
                with mt.TableSet(num_shards=2):
                    for name in names:
                        mt.Table(mt.TableConfig(name, dim=1, **config))
            v1.get_variable("weight", initializer=3.0)
            objects = SessionObjects()
            initialize = v1.global_variables_initializer()
            objects.missing = tf.identity(v1.report_uninitialized_variables())
            objects.handles = [
                [handle for _, handle in servers_of(table_set)]
                for table_set in objects.table_sets()
            ]
            # As another model would leave it that has more tables.
            objects.begin_other = ops.begin_restore(
                objects.handles[0][0], tables=["other"]
            )
        session = v1.Session(graph=graph)
        objects.session = session
        sessions.append(session)
        return objects, initialize

    yield build_graph
    for session in sessions:
        session.close()


def test_a_session_that_is_not_initialized_is_restored(build, tmp_path):
    saved, initialize = build(["movie", "user"])
    saved.session.run(initialize)
    manifest = mt.snapshots.save(saved, tmp_path, step=7)
    assert [part.shard for part in manifest.parts] == [0, 1]
    restored, _ = build(["movie", "user"])
    assert len(restored.session.run(restored.missing)) > 0
    assert mt.snapshots.restore(restored, tmp_path).step == 7
    assert restored.session.run(restored.missing).tolist() == []
    assert restored.session.run("weight/Read/ReadVariableOp:0") == 3.0
    assert len(set(restored.generations())) == 2


def test_nothing_of_several_table_sets_is_mixed(build, tmp_path):
    saved, initialize = build(["movie"], ["user"])
    saved.session.run(initialize)
    manifest = mt.snapshots.save(saved, tmp_path)
    assert [(p.table_set, p.shard) for p in manifest.parts] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    restored, _ = build(["movie"], ["user"])
    mt.snapshots.restore(restored, tmp_path)
    assert len(set(restored.generations())) == 4


def test_tables_that_were_saved_in_other_sets_are_refused(build, tmp_path):
    saved, initialize = build(["movie"], ["user"])
    saved.session.run(initialize)
    mt.snapshots.save(saved, tmp_path)
    restored, _ = build(["movie", "user"])
    with pytest.raises(CheckpointError, match="in a file of their own"):
        mt.snapshots.restore(restored, tmp_path)
    # Restoring is a state: nothing reads half of them.
    with pytest.raises(tf.errors.AbortedError, match="being restored"):
        restored.generations()


def test_tables_that_an_earlier_restore_left_are_named(build, tmp_path):
    objects, initialize = build(["movie"])
    objects.session.run(initialize)
    mt.snapshots.save(objects, tmp_path)
    objects.session.run(objects.begin_other)
    with pytest.raises(CheckpointError, match=r"Tables \['other'\] are still"):
        mt.snapshots.restore(objects, tmp_path)


def test_a_closed_session_is_an_error_of_tensorflow(build):
    objects, _ = build(["movie"])
    objects.session.close()
    for call in (
        objects.generations,
        objects.event_time,
        lambda: objects.write_dense("unused"),
        lambda: objects.abort_part(*objects.table_sets(), 0),
    ):
        with pytest.raises(tf.errors.CancelledError, match="was closed"):
            call()


def test_the_first_snapshot_after_a_restore_is_full(build, tmp_path):
    objects, initialize = build(["movie"])
    objects.session.run(initialize)
    first = mt.snapshots.SnapshotWriter(objects, tmp_path)
    assert first.save().is_full
    # The servers know what changed since.
    assert not first.save().is_full
    mt.snapshots.restore(objects, tmp_path)
    # Nobody knows what changed since the restore.
    assert first.save().is_full
