"""Sessions of workers wait until no table is being restored."""

import threading

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.checkpoint import tf1_graph
from monolith_tf.estimators import training_session
from monolith_tf.estimators.table_generations import TableGenerations
from monolith_tf.placement.table_set import servers_of
from processes import DEADLINE_SECONDS

v1 = tf.compat.v1


@pytest.fixture
def worker():
    """A graph with a table on a server, its creator of sessions, its ops."""
    server = tf.distribute.Server.create_local_server()
    with tf.Graph().as_default():
        with mt.TableSet():
            table = mt.Table(mt.TableConfig("movie", dim=1))
        ((_, handle),) = servers_of(table.table_set)
        operations = {
            "begin": ops.begin_restore(handle, tables=["movie"]),
            "end": ops.end_restore(handle, tables=["movie"]),
            "rows": table.lookup(tf.constant([7], tf.int64)),
            "init": v1.global_variables_initializer(),
        }
        scaffold = v1.train.Scaffold(
            saver=v1.train.Saver(
                tf1_graph.saved_variables(v1.get_default_graph())
            )
        )
        creator = training_session._WorkerSessionCreator(
            TableGenerations(),
            scaffold=scaffold,
            master=server.target,
            max_wait_secs=DEADLINE_SECONDS,
        )
        with v1.Session(server.target) as chief:
            chief.run(operations["init"])
            yield chief, creator, operations


def test_a_session_of_a_worker_waits_for_the_end_of_a_restore(
    worker, monkeypatch
):
    chief, creator, operations = worker
    chief.run(operations["begin"])
    waits = []

    def sleep(_):
        waits.append(True)
        chief.run(operations["end"])

    monkeypatch.setattr(training_session.time, "sleep", sleep)
    session = creator.create_session()
    assert waits == [True]
    assert session.run(operations["rows"]).shape == (1, 1)


def test_a_lookup_during_a_restore_makes_a_worker_recover_its_session(
    worker, monkeypatch
):
    chief, creator, operations = worker
    restored = threading.Event()

    def sleep(_):
        chief.run(operations["end"])
        restored.set()

    monkeypatch.setattr(training_session.time, "sleep", sleep)
    with v1.train.MonitoredSession(creator) as session:
        chief.run(operations["begin"])
        assert session.run(operations["rows"]).shape == (1, 1)
        assert restored.is_set()


def test_a_session_of_a_worker_does_not_wait_without_a_restore(
    worker, monkeypatch
):
    _, creator, operations = worker
    monkeypatch.setattr(training_session.time, "sleep", pytest.fail)
    session = creator.create_session()
    assert session.run(operations["rows"]).shape == (1, 1)
