"""A step that runs again has its batch and its number."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.estimators.repeatable_step import RepeatableStep
from monolith_tf.placement.graph_scope import graph_servers
from monolith_tf.placement.table_set import servers_of

v1 = tf.compat.v1
DEVICE = "/job:localhost/replica:0/task:0/device:CPU:0"
IDS = np.arange(8, dtype=np.int64)


@pytest.fixture(scope="module")
def target():
    """A server: what lies in it outlives a session."""
    server = tf.distribute.Server.create_local_server()
    yield server.target


class Training:
    """A table on two servers, and batches [0], [1], [2] ..."""

    def __init__(self, make_dataset):
        self.graph = tf.Graph()
        with self.graph.as_default(), graph_servers([DEVICE, DEVICE]):
            step = v1.train.get_or_create_global_step()
            self.step = RepeatableStep(DEVICE, make_dataset())
            table = mt.Table(
                mt.TableConfig(
                    "movie",
                    1,
                    optimizer=mt.optimizers.SGD(1.0),
                    initializer=mt.initializers.Zeros(),
                )
            )
            optimizer = mt.optimizers.with_tables(
                v1.train.GradientDescentOptimizer(1.0)
            )
            with mt.request_id(self.step.number, self.step.client):
                loss = tf.reduce_sum(table.lookup(self.step.batch))
                self.train_op = optimizer.minimize(loss, step)
            self.done = self.step.done(self.train_op)
            self.rows = table.lookup(IDS)[:, 0]
            self.counts = [
                ops.request_counts(handle)
                for _, handle in servers_of(table.table_set)
            ]
            # Without a change of rows.
            self.renewals = []
            for _, handle in servers_of(table.table_set):
                begin = ops.begin_restore(handle)
                with tf.control_dependencies([begin]):
                    self.renewals.append(ops.end_restore(handle))
            self.step.begin()
            self.initialize = v1.train.Scaffold().finalize().init_op

    def session(self, target):
        return v1.Session(target, graph=self.graph)


def run(session, training, fetch):
    context = v1.train.SessionRunContext(
        v1.train.SessionRunArgs(fetch), session
    )
    arguments = training.step.before_run(context)
    return session.run(fetch, arguments.feed_dict)


@pytest.fixture
def training():
    return Training(lambda: tf.data.Dataset.range(8).batch(1))


def test_a_step_that_runs_again_is_dropped_and_the_input_goes_on(
    target, training
):
    with training.session(target) as session:
        session.run(training.initialize)
        training.step.after_create_session(session, None)
        run(session, training, training.done)
        # The servers took it, and its worker does not know.
        run(session, training, training.train_op)
    with training.session(target) as session:
        training.step.after_create_session(session, None)
        run(session, training, training.done)
        run(session, training, training.done)
        rows = session.run(training.rows)
        assert rows.tolist() == [-1.0, -1.0, -1.0, 0, 0, 0, 0, 0]
        assert [c[1] for c in session.run(training.counts)] == [1, 1]
    with training.session(target) as session:
        # Tables that are made anew: the input begins from its start.
        session.run(training.initialize)
        training.step.after_create_session(session, None)
        run(session, training, training.done)
        rows = session.run(training.rows)
        assert rows.tolist() == [-1.0, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("server", [0, 1])
def test_the_input_begins_again_when_one_server_has_another_generation(
    target, training, server
):
    with training.session(target) as session:
        session.run(training.initialize)
        training.step.after_create_session(session, None)
        run(session, training, training.done)
        session.run(training.renewals[server])
    with training.session(target) as session:
        training.step.after_create_session(session, None)
        run(session, training, training.done)
        assert session.run(training.rows).tolist() == [-2.0] + 7 * [0.0]


def test_the_end_of_the_input_ends_the_steps(target, training):
    with training.session(target) as session:
        session.run(training.initialize)
        training.step.after_create_session(session, None)
        for _ in range(8):
            run(session, training, training.done)
        with pytest.raises(tf.errors.OutOfRangeError):
            run(session, training, training.done)


@pytest.mark.slow
def test_no_two_steps_have_one_request_id(target):
    both = []
    for _ in range(2):
        training = Training(lambda: tf.data.Dataset.range(8).batch(1).repeat())
        with training.session(target) as session:
            if not both:
                session.run(training.initialize)
            training.step.after_create_session(session, None)
            for _ in range(1100):
                client, number, _ = run(
                    session,
                    training,
                    [training.step.client, training.step.number, training.done],
                )
                both.append((int(client), int(number)))
    assert len(set(both)) == 2200
    assert all(number >= 0 for _, number in both)


def test_a_batch_keeps_its_structure():
    def element(number):
        return {
            "ragged": tf.RaggedTensor.from_row_lengths([number, 7], [0, 2]),
            "sparse": tf.sparse.from_dense([[0, number]]),
            "none": None,
            "pair": (number, tf.constant("text")),
        }

    with tf.Graph().as_default() as graph:
        dataset = tf.data.Dataset.range(5, 7).map(element)
        step = RepeatableStep("/device:CPU:0", dataset)
        assert step.batch["none"] is None
        assert step.batch["ragged"].shape.as_list() == [2, None]
        fetches = {k: v for k, v in step.batch.items() if v is not None}
        done = step.done()
        with v1.Session(graph=graph) as session:
            session.run(step._begin)
            first = session.run(fetches)
            again, _ = session.run([fetches, done])
            second = session.run(fetches)
    for found, number in ((first, 5), (again, 5), (second, 6)):
        assert found["ragged"].to_list() == [[], [number, 7]]
        assert found["sparse"].values.tolist() == [number]
        assert found["pair"] == (number, b"text")
