"""Tables found by name, in checkpoints of every kind."""

from __future__ import annotations

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.checkpoint import by_name
from monolith_tf.checkpoint import layout
from monolith_tf.checkpoint import table_state
from monolith_tf.checkpoint.saved_tables import tables_in_checkpoint
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.errors import CheckpointError
from monolith_tf.placement.graph_scope import graph_servers
from monolith_tf.placement.table_set import servers_of

v1 = tf.compat.v1


def config(name="movie", optimizer=None):
    return mt.TableConfig(
        name, 2, optimizer=optimizer or mt.optimizers.Adagrad(0.5)
    )


def rows_in(path, num_shards, names=None, name="movie"):
    with mt.TableSet(num_shards=num_shards):
        table = mt.Table(config(name))
    mt.checkpoint.restore_tables(table, path, names)
    return table.lookup([1, 2]).numpy().tolist()


@pytest.fixture
def saved(tmp_path):
    with mt.TableSet(num_shards=2):
        table = mt.Table(config())
    table.assign([1, 2], [[1.0, 2.0], [3.0, 4.0]])
    path = tf.train.Checkpoint(of_some_name=table).write(str(tmp_path / "one"))
    return path


@pytest.mark.parametrize("num_shards", [1, 2, 3])
def test_a_checkpoint_restores_on_any_number_of_shards(saved, num_shards):
    assert rows_in(saved, num_shards) == [[1.0, 2.0], [3.0, 4.0]]


def test_a_saver_of_a_graph_restores_into_eager_tables(saved, tmp_path):
    with tf.Graph().as_default() as graph:
        with mt.TableSet(num_shards=3):
            table = mt.Table(config())
        restore = by_name.restore_table(table, saved, "movie")
        initialize = v1.global_variables_initializer()
        saver = v1.train.Saver()
        with v1.Session(graph=graph) as session:
            session.run(initialize)
            session.run(restore)
            path = saver.save(session, str(tmp_path / "graph"))
        with v1.Session(graph=graph) as session:
            saver.restore(session, path)  # Makes the tables, too.
            assert session.run(table.size()) == 2
    assert tables_in_checkpoint(path) == {
        "movie": "monolith_tf/movie/.ATTRIBUTES/"
    }
    assert rows_in(path, 2) == [[1.0, 2.0], [3.0, 4.0]]


def test_names_that_differ_are_mapped(saved):
    found = rows_in(saved, 1, {"film": "movie"}, name="film")
    assert found == [[1.0, 2.0], [3.0, 4.0]]


def test_a_table_that_is_not_there_is_named(saved):
    with pytest.raises(CheckpointError, match="has no table 'film'"):
        rows_in(saved, 1, name="film")


def test_a_path_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        rows_in(tmp_path, 1)


def test_what_was_saved_before_there_were_names_restores_by_its_key(
    tmp_path, monkeypatch
):
    with mt.TableSet(num_shards=2):
        old = mt.Table(config())
    old.assign([1, 2], [[1.0, 2.0], [3.0, 4.0]])
    parts = table_state.serialize(old)
    parts["layout"] = tf.constant(layout.layout(old))
    with monkeypatch.context() as patch:
        patch.setattr(table_state, "serialize", lambda *_: parts)
        path = tf.train.Checkpoint(key=old).write(str(tmp_path / "old"))
    with mt.TableSet(num_shards=3):
        table = mt.Table(config())
    tf.train.Checkpoint(key=table).restore(path)
    assert table.lookup([1, 2]).numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(CheckpointError, match="before tables had names"):
        mt.checkpoint.restore_tables(table, path)


def test_rows_of_another_layout_are_refused_and_nothing_changes(saved):
    with mt.TableSet():
        table = mt.Table(config(optimizer=mt.optimizers.Adam(0.5)))
    table.assign([9], [[5.0, 5.0]])
    with pytest.raises(CheckpointError, match="do not fit table"):
        mt.checkpoint.restore_tables(table, saved)
    assert table.size() == 1


def test_a_graph_that_runs_again_draws_another_generation():
    with tf.Graph().as_default() as graph:
        with mt.TableSet():
            table = mt.Table(config())
        initialize = v1.global_variables_initializer()
        status = mt.ops.table_set_status(servers_of(table.table_set)[0].handle)
        with v1.Session(graph=graph) as session:
            found = set()
            for _ in range(3):
                session.run(initialize)
                found.add(int(session.run(status)[0]))
    assert len(found) == 3
    assert min(found) > 0


def tables_of_a_model(**optimizers):
    """Two tables, for instance of another optimizer each."""
    with mt.TableSet(num_shards=2):
        return [
            mt.Table(config(name, optimizer))
            for name, optimizer in optimizers.items()
        ]


def test_one_table_restores_and_others_stay(saved):
    movie, user = tables_of_a_model(movie=None, user=None)
    user.assign([9], [[5.0, 5.0]])
    mt.checkpoint.restore_tables([movie, user], saved, only=["movie"])
    assert (movie.size(), user.size()) == (2, 1)
    mt.checkpoint.restore_tables(
        [movie, user], saved, {"user": "movie"}, only=["user"]
    )
    assert user.lookup([1, 9]).numpy()[0].tolist() == [1.0, 2.0]
    assert user.size() == 2


def test_weights_alone_go_to_a_table_of_another_optimizer(saved):
    (table,) = tables_of_a_model(film=mt.optimizers.Adam(0.5))
    table.assign([9], [[5.0, 5.0]])
    with mt.event_time(77):
        mt.checkpoint.restore_tables(
            table, saved, {"film": "movie"}, slots=False
        )
    expected = {1: [1.0, 2.0], 2: [3.0, 4.0]}
    for ids, times, rows in export_rows(table):
        for one, time, row in zip(ids, times, rows, strict=True):
            # Slots of Adam start at zero.
            assert row.tolist() == [*expected.pop(int(one)), 0, 0, 0, 0]
            assert time == 77
    assert not expected


def test_slots_and_times_come_with_the_rows(tmp_path):
    (table,) = tables_of_a_model(movie=None)
    table.apply_gradients([1, 2, 2], [[1.0, 2.0]] * 3, event_time=5)
    path = tf.train.Checkpoint(table=table).write(str(tmp_path / "one"))
    other, alone = tables_of_a_model(movie=None, alone=None)
    mt.checkpoint.restore_tables([other, alone], path, {"alone": "movie"})
    mt.checkpoint.restore_tables(alone, path, {"alone": "movie"}, slots=False)

    def step(table):
        table.apply_gradients([1, 2], [[1.0, 1.0]] * 2, event_time=6)
        return table.lookup([1, 2]).numpy().tolist()

    expected = step(table)
    assert step(other) == expected
    # The accumulator of Adagrad began anew.
    assert step(alone) != expected


@pytest.mark.parametrize("slots", [True, False])
def test_another_dim_is_refused_and_no_table_changes(saved, slots):
    with mt.TableSet():
        fits = mt.Table(config())
        wide = mt.Table(mt.TableConfig("wide", dim=3))
    for table in (fits, wide):
        table.assign([9], [[5.0] * table.dim])
    with pytest.raises(
        CheckpointError, match="do(es)? not fit table 'wide'.*has .*2"
    ):
        mt.checkpoint.restore_tables(
            [fits, wide], saved, {"wide": "movie"}, slots=slots
        )
    assert (fits.size(), wide.size()) == (1, 1)


def test_names_of_no_table_are_refused(saved):
    (table,) = tables_of_a_model(movie=None)
    for kwargs in ({"names": {"film": "movie"}}, {"only": ["film"]}):
        with pytest.raises(
            ValueError, match=r"\['film'\].*Expected tables of the model"
        ):
            mt.checkpoint.restore_tables(table, saved, **kwargs)
    with pytest.raises(ValueError, match="a collection of names"):
        mt.checkpoint.restore_tables(table, saved, only="movie")


def test_weights_alone_are_refused_in_a_graph(saved):
    with tf.Graph().as_default():
        with mt.TableSet():
            table = mt.Table(config())
        with pytest.raises(ValueError, match="not support tables of a graph"):
            mt.checkpoint.restore_tables(table, saved, slots=False)


def test_each_server_saves_and_restores_its_own_groups():
    """A saver of two servers moves a group that both share, and no other."""
    devices = [f"/job:ps/replica:0/task:{n}/device:CPU:0" for n in range(2)]
    with tf.Graph().as_default() as graph, graph_servers(devices):
        table = mt.Table(config())
        v1.train.Saver(sharded=True)
    del table
    readers = {}
    for operation in graph.get_operations():
        if operation.type in ("SaveV2", "RestoreV2"):
            names = tf.make_ndarray(
                operation.inputs[1].op.get_attr("value")
            ).tolist()
            groups = {int(n[-2:]) for n in names if b"rows-" in n}
            readers.setdefault(operation.type, {})[operation.device] = groups
    for found in readers.values():
        assert sorted(found) == devices
        assert found[devices[0]] == set(range(32))
        assert found[devices[1]] == set(range(32, 64))
    assert sorted(readers) == ["RestoreV2", "SaveV2"]


def test_a_model_without_tables_is_refused(tmp_path):
    with pytest.raises(ValueError, match="with a table. Received: 5"):
        mt.checkpoint.restore_tables(5, tmp_path)
