"""Answers of servers that work, hang, or are not there."""

import threading
import time

import fake_roles
import tensorflow as tf

from monolith_tf.cluster import pick_free_ports
from monolith_tf.cluster.probe import Probe
from processes import DEADLINE_SECONDS

# Of a question that nobody answers.
SHORT_SECONDS = 1.5


def ask(address, timeout_seconds=DEADLINE_SECONDS):
    """Asks once; the answer is of no use after the time it had."""
    probe = Probe(address)
    try:
        return probe.ask(timeout_seconds)
    finally:
        probe.close()


def test_a_server_of_tensorflow_answers():
    server = tf.distribute.Server.create_local_server()
    answer = ask(server.target.removeprefix("grpc://"))
    assert answer.kind == "answers"
    assert answer.detail == ""


def test_a_probe_asks_as_often_as_one_likes():
    with fake_roles.StatusServer() as server:
        probe = Probe(server.address)
        kinds = {probe.ask(DEADLINE_SECONDS).kind for _ in range(20)}
        probe.close()
        assert kinds == {"answers"}
        assert server.asked == 20


def test_a_server_whose_threads_are_all_busy_greets():
    with fake_roles.StatusServer() as server:
        server.may_answer.clear()
        answer = ask(server.address)
        assert answer.kind == "greets"
        assert 1.0 <= answer.seconds
        assert server.asked >= 1


def test_a_port_that_nobody_listens_on_refuses():
    (port,) = pick_free_ports(1)
    answer = ask(f"localhost:{port}")
    assert answer.kind == "refuses"
    assert "refused" in answer.detail


def test_a_server_that_closes_connections_refuses():
    with fake_roles.hasty_listener() as address:
        assert ask(address).kind == "refuses"


def test_a_port_that_takes_connections_and_says_nothing_is_silent():
    with fake_roles.silent_listener() as address:
        begin = time.monotonic()
        answer = ask(address, SHORT_SECONDS)
        assert time.monotonic() - begin >= SHORT_SECONDS
        assert answer.kind == "silent"
        assert answer.detail == "the connection opens, and nothing answers"


def test_a_machine_that_takes_no_connections_is_unreachable():
    with fake_roles.full_listener() as address:
        answer = ask(address, SHORT_SECONDS)
        assert answer.kind == "unreachable"
        assert answer.detail == "the connection does not open"


def test_a_host_that_has_no_address_is_unreachable():
    assert ask("no-such-host.invalid:2222").kind == "unreachable"


def test_a_server_that_comes_back_answers_at_once():
    (port,) = pick_free_ports(1)
    probe = Probe(f"localhost:{port}")
    assert probe.ask(DEADLINE_SECONDS).kind == "refuses"
    server = tf.distribute.Server(
        {"ps": [f"localhost:{port}"]}, job_name="ps", task_index=0
    )
    assert probe.ask(DEADLINE_SECONDS).kind == "answers"
    probe.close()
    del server


def test_an_interrupt_ends_a_question_and_those_after_it():
    with fake_roles.silent_listener() as address:
        probe = Probe(address)
        timer = threading.Timer(0.1, probe.interrupt)
        timer.start()
        begin = time.monotonic()
        probe.ask(DEADLINE_SECONDS)
        assert probe.ask(DEADLINE_SECONDS).detail == "the probe is closed"
        assert time.monotonic() - begin < DEADLINE_SECONDS / 2
        timer.join()
        probe.close()
