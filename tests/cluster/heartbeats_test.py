"""A monitor names roles that do not answer, once per change."""

import contextlib
import logging
import queue
import subprocess
import sys
import threading
import time

import fake_roles
import process_faults
import pytest

from monolith_tf.cluster import HeartbeatMonitor
from monolith_tf.cluster import pick_free_ports
from processes import DEADLINE_SECONDS
from processes import wait_until

TIMEOUT_SECONDS = 1.5
PROGRAM = """
import sys
import tensorflow as tf
server = tf.distribute.Server(
    {"ps": ["localhost:" + sys.argv[1]]}, job_name="ps", task_index=0)
print("", flush=True)
server.join()
"""


class Reports:
    """Reports of a monitor, in order."""

    def __init__(self):
        self._queue = queue.Queue()

    def __call__(self, health):
        self._queue.put(health)

    def next(self):
        return self._queue.get(timeout=DEADLINE_SECONDS)

    def is_empty(self):
        return self._queue.empty()


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def monitor(reports):
    with HeartbeatMonitor(
        TIMEOUT_SECONDS,
        interval_seconds=0.1,
        slow_seconds=DEADLINE_SECONDS,
        on_change=reports,
        read_step=lambda: 40,
    ) as watching:
        yield watching


@pytest.fixture
def server():
    with fake_roles.StatusServer() as answering:
        yield answering


def is_alive(monitor, role):
    return lambda: monitor.health(role).state == "alive"


def test_a_role_that_answers_is_alive_and_not_reported(
    monitor, reports, server
):
    monitor.watch("ps 0", server.address)
    wait_until(is_alive(monitor, "ps 0"))
    wait_until(lambda: server.asked > 5)
    assert monitor.health("ps 0").silent_seconds < DEADLINE_SECONDS
    assert reports.is_empty()


def test_a_server_that_ends_is_dead_and_named_once(
    monitor, reports, server, caplog
):
    caplog.set_level(logging.INFO, "monolith_tf.cluster")
    monitor.watch("ps 1", server.address)
    wait_until(is_alive(monitor, "ps 1"))
    server.close()
    health = reports.next()
    assert (health.role, health.state) == ("ps 1", "dead")
    assert health.address == server.address
    assert health.silent_seconds >= TIMEOUT_SECONDS
    assert health.step == 40
    wait_until(lambda: monitor.health("ps 1").silent_seconds > 3.0)
    assert reports.is_empty()
    (line,) = caplog.messages
    assert line.startswith(f"ps 1 at {server.address} is dead, ")
    assert line.endswith("s ago; last known step 40")


def test_a_port_that_never_says_anything_is_hung(monitor, reports):
    with fake_roles.silent_listener() as address:
        begin = time.monotonic()
        monitor.watch("ps 0", address)
        assert reports.next().state == "hung"
        assert time.monotonic() - begin >= TIMEOUT_SECONDS


def test_a_machine_that_takes_no_more_connections_is_partitioned(
    monitor, reports, server
):
    monitor.watch("ps 0", server.address)
    wait_until(is_alive(monitor, "ps 0"))
    server.close()
    with fake_roles.full_listener(server.port):
        health = reports.next()
        while health.state == "dead":  # A slow machine.
            health = reports.next()
        assert health.state == "partitioned"
        assert health.reason == "the connection does not open"


def test_a_role_that_is_not_there_yet_is_not_reported(monitor, reports):
    (port,) = pick_free_ports(1)
    with (
        fake_roles.full_listener() as unreachable,
        fake_roles.silent_listener() as silent,
    ):
        monitor.watch("ps 0", f"localhost:{port}")
        monitor.watch("ps 1", unreachable)
        monitor.watch("ps 2", silent)
        # Its time-out begins last.
        assert reports.next().role == "ps 2"
        states = {one.role: one.state for one in monitor.healths()}
    assert states["ps 0"] == states["ps 1"] == "starting"
    assert reports.is_empty()


def test_a_server_with_busy_threads_is_slow_then_alive(reports, server):
    with HeartbeatMonitor(
        TIMEOUT_SECONDS, interval_seconds=0.1, on_change=reports
    ) as monitor:
        monitor.watch("worker 0", server.address)
        wait_until(is_alive(monitor, "worker 0"))
        server.may_answer.clear()
        health = reports.next()
        assert (health.state, health.reason) == ("slow", "its answers are late")
        server.may_answer.set()
        assert reports.next().state == "alive"


@contextlib.contextmanager
def tensorflow_server():
    """A process that serves as TensorFlow does, and its address."""
    (port,) = pick_free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port)], stdout=subprocess.PIPE
    )
    try:
        process.stdout.readline()
        yield process.pid, f"localhost:{port}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("is_local", [True, False])
def test_a_stopped_server_of_tensorflow_is_hung_until_it_runs_again(
    monitor, reports, is_local
):
    with tensorflow_server() as (pid, address):
        monitor.watch("ps 0", address, pid if is_local else None)
        wait_until(is_alive(monitor, "ps 0"))
        with process_faults.stopped(pid):
            health = reports.next()
            assert health.state == "hung"
            assert health.reason == (
                "its process is stopped"
                if is_local
                else "the connection opens, and nothing answers"
            )
        assert reports.next().state == "alive"


@pytest.mark.e2e
def test_a_process_without_a_server_is_hung_when_it_is_stopped(
    monitor, reports
):
    with subprocess.Popen(["sleep", "1000"]) as process:
        monitor.watch("chief 0", None, process.pid)
        wait_until(is_alive(monitor, "chief 0"))
        with process_faults.stopped(process.pid):
            assert reports.next().state == "hung"
        assert reports.next().state == "alive"
        process.kill()
        process.wait()
        assert reports.next().state == "dead"


def test_a_new_process_of_a_role_starts_from_nothing(monitor, reports, server):
    monitor.watch("ps 0", server.address)
    wait_until(is_alive(monitor, "ps 0"))
    (port,) = pick_free_ports(1)
    monitor.watch("ps 0", f"localhost:{port}")
    assert monitor.health("ps 0").state == "starting"
    monitor.forget("ps 0")
    monitor.forget("ps 0")
    assert monitor.healths() == []
    with pytest.raises(KeyError):
        monitor.health("ps 0")


def test_closing_ends_all_threads_at_once():
    before = set(threading.enumerate())
    with fake_roles.silent_listener() as address:
        monitor = HeartbeatMonitor(DEADLINE_SECONDS)
        for index in range(5):
            monitor.watch(f"ps {index}", address)
        begin = time.monotonic()
        monitor.close()
        assert time.monotonic() - begin < DEADLINE_SECONDS / 2
    left = set(threading.enumerate()) - before
    assert not [one for one in left if "heartbeats" in one.name]


@pytest.mark.parametrize(
    "name", ["timeout_seconds", "interval_seconds", "slow_seconds"]
)
def test_a_time_has_to_be_above_0(name):
    with pytest.raises(ValueError, match=f"{name} above 0. Received: {name}=0"):
        HeartbeatMonitor(**{name: 0})


def test_a_role_needs_an_address_or_a_process(monitor):
    with pytest.raises(ValueError, match="of 'ps 0'. Received: neither"):
        monitor.watch("ps 0", None)
