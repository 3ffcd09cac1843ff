"""Processes die and pause when they are told to."""

from __future__ import annotations

import signal
import subprocess
import sys

import process_faults
import pytest

pytestmark = pytest.mark.e2e

# Answers each line.
ECHO = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    print(line, end="", flush=True)
"""


@pytest.fixture
def start():
    started = []

    def make():
        process = subprocess.Popen(
            [sys.executable, "-c", ECHO],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield make
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_process_is_dead(start):
    process = start()
    process_faults.kill(process.pid)
    assert process.wait() == -signal.SIGKILL


def test_a_terminated_process_may_end_by_itself(start):
    process = start()
    process_faults.terminate(process.pid)
    assert process.wait() == -signal.SIGTERM


def test_a_stopped_process_goes_on_after_the_block(start):
    process = start()
    with process_faults.stopped(process.pid):
        assert process_faults.state(process.pid) == "T"
    process.stdin.write("hello\n")
    process.stdin.flush()
    assert process.stdout.readline() == "hello\n"
    assert process_faults.state(process.pid) != "T"
