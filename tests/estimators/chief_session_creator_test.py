"""A chief that lost a connection takes nothing back, unless state is lost."""

import unittest.mock

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.checkpoint import tf1_graph
from monolith_tf.estimators.chief_session_creator import ChiefSessionCreator
from monolith_tf.placement.table_set import servers_of

v1 = tf.compat.v1
LOST = tf.errors.UnavailableError(None, None, "No connection.")


class Chief:
    """A table of one row on a server, a dense weight, and a checkpoint.

    The row and the weight are 1 in the checkpoint, and 2 on the server.
    """

    def __init__(self, directory):
        self.target = tf.distribute.Server.create_local_server().target
        table = mt.Table(
            mt.TableConfig(
                "movie",
                dim=1,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Zeros(),
            )
        )
        weight = v1.get_variable(
            "weight", [], initializer=v1.ones_initializer()
        )
        ids = tf.constant([7], tf.int64)
        row = table.lookup(ids)
        optimizer = mt.optimizers.with_tables(
            v1.train.GradientDescentOptimizer(1.0)
        )
        self.step = optimizer.minimize(-tf.reduce_sum(row) - weight)
        self.state = [row[0, 0], weight]
        ((_, self.handle),) = servers_of(table.table_set)
        self.begin_restore = ops.begin_restore(self.handle, tables=["movie"])
        with tf.control_dependencies([ops.begin_restore(self.handle)]):
            self.renew = ops.end_restore(self.handle)
        self.destroy = tf.raw_ops.DestroyResourceOp(resource=self.handle)
        self.forget = tf.raw_ops.DestroyResourceOp(resource=weight.handle)
        graph = v1.get_default_graph()
        self.saver = v1.train.Saver(tf1_graph.saved_variables(graph))
        self._directory = directory
        self.creator = self.of_a_new_process(self.saver)
        with self.creator.create_session() as session:
            assert session.run(self.state) == [0.0, 1.0]
            session.run(self.step)
            self.saver.save(session, str(directory / "model.ckpt"), 1)
            session.run(self.step)
            assert session.run(self.state) == [2.0, 3.0]
        graph._unsafe_unfinalize()  # For other creators.

    def of_a_new_process(self, saver):
        """Returns a creator that has made no session yet."""
        return ChiefSessionCreator(
            scaffold=v1.train.Scaffold(saver=saver),
            master=self.target,
            checkpoint_dir=str(self._directory),
        )

    def run(self, operation):
        """Runs an operation that the creator does not know of."""
        with v1.Session(self.target) as session:
            session.run(operation)

    def recovered(self):
        """Makes a session; returns its state."""
        with self.creator.create_session() as session:
            return session.run(self.state)


@pytest.fixture
def chief(tmp_path):
    with tf.Graph().as_default():
        yield Chief(tmp_path)


def test_a_new_session_takes_nothing_back(chief):
    for _ in range(2):
        assert chief.recovered() == [2.0, 3.0]


@pytest.mark.parametrize("lost", ["renew", "destroy", "forget"])
def test_a_server_that_lost_something_is_restored_once(chief, lost):
    chief.run(getattr(chief, lost))
    assert chief.recovered() == [1.0, 2.0]
    chief.run(chief.step)
    assert chief.recovered() == [2.0, 3.0]


def test_a_restore_that_failed_half_way_is_done_again(chief):
    chief.run(chief.begin_restore)
    assert chief.recovered() == [1.0, 2.0]


@pytest.mark.parametrize(
    "error", [LOST, tf.errors.AbortedError(None, None, "It restarted.")]
)
def test_a_server_that_does_not_answer_is_asked_again(
    chief, monkeypatch, error
):
    with monkeypatch.context() as patch:
        patch.setattr(
            chief.creator._generations,
            "read",
            unittest.mock.Mock(side_effect=error),
        )
        with pytest.raises(type(error)):
            chief.creator.create_session()
    assert chief.recovered() == [2.0, 3.0]


def test_a_restore_whose_end_is_unknown_is_done_again(chief, monkeypatch):
    chief.run(chief.renew)
    with monkeypatch.context() as patch:
        # First of the session that continues, then of the one that restores.
        patch.setattr(
            chief.creator._generations,
            "read",
            unittest.mock.Mock(side_effect=[(1,), LOST]),
        )
        with pytest.raises(tf.errors.UnavailableError):
            chief.creator.create_session()
    chief.run(chief.step)
    assert chief.recovered() == [1.0, 2.0]


def test_the_first_session_of_a_process_restores(chief):
    with chief.of_a_new_process(chief.saver).create_session() as session:
        assert session.run(chief.state) == [1.0, 2.0]


def test_tables_are_refused_before_the_first_variable_is_restored(
    chief, monkeypatch
):
    chief.run(chief.renew)
    prepare = v1.train.SessionManager.prepare_session

    def prepare_session(manager, *arguments, **named):
        # Steps of workers fail from here on.
        with pytest.raises(tf.errors.AbortedError, match="being restored"):
            chief.run(chief.step)
        return prepare(manager, *arguments, **named)

    monkeypatch.setattr(
        v1.train.SessionManager, "prepare_session", prepare_session
    )
    assert chief.recovered() == [1.0, 2.0]


def test_a_checkpoint_that_cannot_be_read_leaves_the_tables_usable(
    chief, tmp_path
):
    chief.run(chief.renew)
    for path in tmp_path.glob("model.ckpt-1.data-*"):
        path.write_bytes(b"")
    with pytest.raises(tf.errors.OutOfRangeError):
        chief.creator.create_session()
    chief.run(chief.step)


def test_a_saver_without_tables_leaves_the_tables_usable(chief):
    weight = [v for v in v1.global_variables() if v.op.name == "weight"]
    saver = v1.train.Saver(weight)
    with chief.of_a_new_process(saver).create_session() as session:
        assert session.run(chief.state) == [2.0, 2.0]
