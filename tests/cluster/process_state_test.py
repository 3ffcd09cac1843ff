"""The state of processes that run, wait, are stopped, and end."""

import os
import subprocess
import sys

import process_faults
import pytest

from monolith_tf.cluster.process_state import ProcessState
from monolith_tf.cluster.process_state import read_process_state
from processes import wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def start():
    """Starts Python programs that end with the test."""
    running = []

    def start_program(text):
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", text], stdout=subprocess.PIPE
            )
        )
        # Its first line.
        running[-1].stdout.readline()
        return running[-1]

    yield start_program
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def is_state(pid, state):
    return lambda: read_process_state(pid).state == state


def test_a_process_that_waits_sleeps_and_uses_no_processor(start):
    pid = start("print('', flush=True); import signal; signal.pause()").pid
    wait_until(is_state(pid, "sleeping"))
    before = read_process_state(pid)
    assert read_process_state(pid) == before


def test_a_process_that_computes_is_running_and_its_time_grows(start):
    pid = start("print('', flush=True)\nwhile True: pass").pid
    wait_until(is_state(pid, "running"))
    before = read_process_state(pid).cpu_ticks
    wait_until(lambda: read_process_state(pid).cpu_ticks > before + 5)


def test_a_thread_that_computes_makes_its_process_running(start):
    pid = start(
        "import threading\n"
        "def work():\n"
        "    while True: pass\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "print('', flush=True)\n"
        "threading.Event().wait()"
    ).pid
    wait_until(lambda: process_faults.state(pid) == "S")
    wait_until(is_state(pid, "running"))


def test_a_stopped_process_is_stopped_until_it_is_resumed(start):
    pid = start("print('', flush=True)\nwhile True: pass").pid
    with process_faults.stopped(pid):
        before = read_process_state(pid)
        assert before.state == "stopped"
        assert read_process_state(pid) == before
    wait_until(is_state(pid, "running"))


def test_an_ended_process_is_gone(start):
    process = start("print('', flush=True)")
    wait_until(is_state(process.pid, "gone"))
    process.wait()
    assert read_process_state(process.pid) == ProcessState("gone")


def test_a_name_with_parentheses_does_not_confuse(tmp_path):
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as process:
        wait_until(is_state(process.pid, "sleeping"))
        process.kill()


def test_this_process_runs():
    assert read_process_state(os.getpid()).state == "running"
