"""Tests of the watch over child processes."""

import os
import signal
import sys
import threading

import pytest

from monolith_tf import cluster
from processes import DEADLINE_SECONDS

pytestmark = pytest.mark.e2e

FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]


def test_a_death_ends_a_wait_and_is_reported(tmp_path):
    with cluster.ChildProcess("worker 3", FOREVER, tmp_path / "log") as it:
        with pytest.raises(
            cluster.ProcessError, match="worker 3 .* was killed by SIGKILL"
        ):
            with cluster.DeathWatch([it]):
                os.kill(it.pid, signal.SIGKILL)
                threading.Event().wait(DEADLINE_SECONDS)
                raise AssertionError("the wait was not interrupted")


def test_an_interrupt_that_was_lost_comes_again(tmp_path):
    lost = 0
    with cluster.ChildProcess("worker 3", FOREVER, tmp_path / "log") as it:
        with pytest.raises(cluster.ProcessError, match="worker 3"):
            with cluster.DeathWatch([it], repeat_seconds=0.1):
                os.kill(it.pid, signal.SIGKILL)
                try:
                    threading.Event().wait(DEADLINE_SECONDS)
                except KeyboardInterrupt:
                    lost += 1
                threading.Event().wait(DEADLINE_SECONDS)
                raise AssertionError("the wait was not interrupted again")
    assert lost == 1


def test_a_block_whose_children_live_ends_as_ever(tmp_path):
    with cluster.ChildProcess("ps 0", FOREVER, tmp_path / "log") as child:
        with cluster.DeathWatch([child]):
            pass
        with pytest.raises(ValueError, match="own error"):
            with cluster.DeathWatch([child]):
                raise ValueError("own error")


def test_ctrl_c_stays_ctrl_c(tmp_path):
    with cluster.ChildProcess("ps 0", FOREVER, tmp_path / "log") as child:
        with pytest.raises(KeyboardInterrupt):
            with cluster.DeathWatch([child]):
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(DEADLINE_SECONDS)


def test_a_death_ends_a_wait_where_ctrl_c_is_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with cluster.ChildProcess("worker 3", FOREVER, tmp_path / "log") as it:
            with cluster.DeathWatch([it]):
                # Still ignored.
                os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            with pytest.raises(cluster.ProcessError, match="worker 3"):
                with cluster.DeathWatch([it]):
                    os.kill(it.pid, signal.SIGKILL)
                    threading.Event().wait(DEADLINE_SECONDS)
                    raise AssertionError("the wait was not interrupted")
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_is_refused_outside_the_main_thread():
    caught = []

    def enter():
        try:
            with cluster.DeathWatch([]):
                pass
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=enter, name="other")
    thread.start()
    thread.join()
    assert caught == [
        "DeathWatch interrupts the main thread, so enter it there. Received: "
        "thread 'other'."
    ]
