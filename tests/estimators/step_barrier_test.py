"""A closed barrier keeps each worker between two steps, and loses none."""

import threading
import time

import pytest
import tensorflow as tf

from monolith_tf.estimators import step_barrier
from monolith_tf.estimators.step_barrier import StepBarrier
from monolith_tf.estimators.step_barrier import StepBarrierHook
from processes import DEADLINE_SECONDS
from processes import wait_until

v1 = tf.compat.v1
DEVICE = "/job:localhost/replica:0/task:0/device:CPU:0"


class Cluster:
    """A barrier of a chief and workers, whose steps count."""

    def __init__(self, num_workers):
        self.target = tf.distribute.Server.create_local_server().target
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.barrier = StepBarrier(DEVICE, num_workers)
            self.step = tf.constant(1)
        self.session = v1.Session(self.target, graph=self.graph)
        self.barrier.reset(self.session)
        self.workers = []

    def start(self, number):
        worker = Worker(self, number)
        self.workers.append(worker)
        return worker

    def close(self):
        for worker in self.workers:
            worker.stop()


class Worker:
    """A thread that makes steps behind the barrier."""

    def __init__(self, cluster, number):
        self.hook = StepBarrierHook(cluster.barrier, number)
        self.num_steps = 0
        # A step takes as long as this is not set.
        self.may_end = threading.Event()
        self.may_end.set()
        self._stops = threading.Event()
        self._cluster = cluster
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        cluster = self._cluster
        with v1.Session(cluster.target, graph=cluster.graph) as session:
            self.hook.after_create_session(session, None)
            while not self._stops.is_set():
                fetched = self.hook.before_run(None).fetches
                ticket, _ = session.run([fetched, cluster.step])
                self.may_end.wait(DEADLINE_SECONDS)
                self.num_steps += 1
                values = v1.train.SessionRunValues(ticket, None, None)
                self.hook.after_run(None, values)
            self.hook.end(session)

    def stop(self):
        self._stops.set()
        self.may_end.set()
        self._cluster.barrier.open(self._cluster.session)
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()

    def wait_for_a_step(self):
        before = self.num_steps
        wait_until(lambda: self.num_steps > before)


@pytest.fixture
def make_cluster():
    """Makes clusters of a chief and some workers."""
    clusters = []

    def make(num_workers):
        clusters.append(Cluster(num_workers))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


def close(cluster, seconds=DEADLINE_SECONDS):
    return cluster.barrier.close(cluster.session, seconds)


def test_no_step_is_made_while_the_barrier_is_closed(make_cluster):
    cluster = make_cluster(3)
    workers = [cluster.start(1), cluster.start(2)]
    for _ in range(20):
        for worker in workers:
            worker.wait_for_a_step()
        assert close(cluster) == []
        before = [worker.num_steps for worker in workers]
        # A worker that does not wait makes steps meanwhile.
        for _ in range(20):
            cluster.session.run(cluster.barrier._answers)
        assert [worker.num_steps for worker in workers] == before
        cluster.barrier.open(cluster.session)


def test_a_step_that_takes_too_long_is_named(make_cluster):
    cluster = make_cluster(2)
    worker = cluster.start(1)
    worker.wait_for_a_step()
    worker.may_end.clear()
    assert close(cluster, 0.2) == [1]
    cluster.barrier.open(cluster.session)
    worker.may_end.set()
    # It shows that it lives, so the chief waits for it again.
    wait_until(lambda: close_and_open(cluster) == [])


def close_and_open(cluster):
    silent = close(cluster)
    cluster.barrier.open(cluster.session)
    return silent


def test_the_chief_waits_for_a_dead_worker_only_once(make_cluster):
    cluster = make_cluster(2)
    assert close(cluster, 0.1) == [1]
    cluster.barrier.open(cluster.session)
    # It would wait for the deadline of the test.
    started = time.monotonic()
    assert close(cluster) == [1]
    assert time.monotonic() - started < DEADLINE_SECONDS / 2


def test_a_worker_that_ends_is_not_waited_for(make_cluster):
    cluster = make_cluster(3)
    cluster.start(1).wait_for_a_step()
    other = cluster.start(2)
    other.wait_for_a_step()
    other.stop()
    assert close(cluster) == []


def test_a_worker_that_joins_waits_while_the_barrier_is_closed(make_cluster):
    cluster = make_cluster(2)
    assert close(cluster, 0.1) == [1]
    late = cluster.start(1)
    answers = cluster.barrier._answers
    wait_until(lambda: cluster.session.run(answers)[1] != 0)
    assert close(cluster) == []
    assert late.num_steps == 0
    cluster.barrier.open(cluster.session)
    late.wait_for_a_step()


def test_a_barrier_that_no_chief_has_made_is_open():
    with tf.Graph().as_default() as graph:
        barrier = StepBarrier(DEVICE, 2)
        with v1.Session(graph=graph) as session:
            assert session.run(barrier.ticket) == step_barrier._OPEN
            hook = StepBarrierHook(barrier, 1)
            hook.after_create_session(session, None)
            hook.end(session)


def test_a_new_session_of_the_chief_opens_the_barrier(make_cluster):
    cluster = make_cluster(2)
    worker = cluster.start(1)
    worker.wait_for_a_step()
    assert close(cluster) == []
    cluster.barrier.reset(cluster.session)
    worker.wait_for_a_step()
