"""A process that gets SIGTERM leaves when its state is saved."""

import os
import signal
import subprocess

import pytest

from monolith_tf.cluster.drain import TerminationSignal
from processes import DEADLINE_SECONDS
from processes import PYTHON

SERVER = """
import signal
import threading
import tensorflow as tf
from monolith_tf import ops
from monolith_tf.cluster import drain

one = tf.constant(1, tf.int64)
if {has_writer}:
    ops.fence_writers(one, one, tf.constant([], tf.string))

def save():
    while drain.state() != drain.DRAINING:
        pass
    drain.state(drain.DRAINED)

if {saves}:
    threading.Thread(target=save, daemon=True).start()
def say():
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        pass
    print("serves", flush=True)

threading.Thread(target=say, daemon=True).start()
drain.serve_until_drained(grace_seconds={grace})
"""


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("has_writer", "saves", "grace", "said"),
    [
        (True, True, 1000, "leaving with all rows saved"),
        (True, False, 0.5, "no snapshot within 0.5 s"),
        # Nobody will take a snapshot.
        (False, False, 1000, "leaving"),
    ],
)
def test_a_server_leaves_once_saved_or_when_time_is_up(
    has_writer, saves, grace, said
):
    with subprocess.Popen(
        [
            *PYTHON,
            "-c",
            SERVER.format(has_writer=has_writer, saves=saves, grace=grace),
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout.readline() == "serves\n"
        server.send_signal(signal.SIGTERM)
        assert said in server.communicate(timeout=DEADLINE_SECONDS)[0]
        assert server.returncode == 0


def test_the_former_handler_of_the_signal_comes_back():
    received = []
    former = signal.signal(
        signal.SIGTERM, lambda number, _: received.append(number)
    )
    try:
        term = TerminationSignal()
        os.kill(os.getpid(), signal.SIGTERM)
        assert term.is_received
        # A second one is no longer held back.
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
        received.clear()
        term.close()
        term.close()
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, former)
