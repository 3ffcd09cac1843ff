"""The wall clock of a program jumps, and its monotonic clock does not."""

from __future__ import annotations

import os
import subprocess

import jumping_clock
import pytest

import processes

pytestmark = pytest.mark.e2e

DAY_SECONDS = 86400
# Answers each line with a time.
PROGRAM = """
import sys, time
sys.path.append(sys.argv[1])
import jumping_clock
jumping_clock.install()
for line in sys.stdin:
    time.sleep(0.001)
    wall = line.strip() == "wall"
    print(time.time() if wall else time.monotonic(), flush=True)
"""


@pytest.fixture
def clock(tmp_path):
    return jumping_clock.JumpingClock(tmp_path)


@pytest.fixture
def ask(clock):
    """Asks a program for a time: of the "wall", or "monotonic"."""
    folder = os.path.dirname(jumping_clock.__file__)
    process = subprocess.Popen(
        [*processes.PYTHON, "-c", PROGRAM, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **clock.environment},
    )

    def read(which):
        process.stdin.write(which + "\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    yield read
    process.kill()
    process.communicate()


@pytest.mark.parametrize("jump", [DAY_SECONDS, -DAY_SECONDS])
def test_a_clock_jumps_by_a_day_and_back(clock, ask, jump):
    before, monotonic = ask("wall"), ask("monotonic")
    clock.jump(jump)
    assert abs(ask("wall") - before - jump) < processes.DEADLINE_SECONDS
    assert 0 <= ask("monotonic") - monotonic < processes.DEADLINE_SECONDS
    clock.jump(0)
    assert abs(ask("wall") - before) < processes.DEADLINE_SECONDS
