"""Processes die, pause and lose track of time when they are told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import process_faults
import pytest

pytestmark = pytest.mark.e2e

# Answers each line with the time.
CLOCK = """
import sys, time
print("ready", flush=True)
for line in sys.stdin:
    print(time.time() if line == "wall\\n" else time.monotonic(), flush=True)
"""


@pytest.fixture
def start():
    started = []

    def make(environment=None):
        process = subprocess.Popen(
            [sys.executable, "-c", CLOCK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield make
    for process in started:
        process.kill()
        process.communicate()


def ask(process, clock):
    process.stdin.write(clock + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


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
    assert ask(process, "wall") > 0
    assert process_faults.state(process.pid) != "T"


def test_a_clock_jumps_by_a_day_and_back(start, tmp_path):
    clock = process_faults.JumpingClock(tmp_path)
    process = start(clock.environment)
    before, monotonic = ask(process, "wall"), ask(process, "monotonic")
    clock.jump(86400)
    assert 86000 < ask(process, "wall") - before < 2 * 86400
    assert ask(process, "monotonic") - monotonic < 80000
    clock.jump(0)
    assert abs(ask(process, "wall") - before) < 80000


def test_without_the_library_the_error_names_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(process_faults, "_LIBRARIES", "/nowhere/*.so")
    with pytest.raises(FileNotFoundError, match="apt-get install libfaketime"):
        process_faults.JumpingClock(tmp_path)
