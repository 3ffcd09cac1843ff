"""Processes of a job are killed at random moments, and nobody helps.

MONOLITH_TF_KILLS says how often each role is killed; `make soak` asks for 20.
"""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAM = pathlib.Path(__file__).with_name("unattended_training_program.py")
KILLS = int(os.environ.get("MONOLITH_TF_KILLS", "2"))
STEPS = 40
DEADLINE_SECONDS = 120 + 60 * KILLS


class Job:
    """`monolith-tf launch`, and what it and its chief said so far."""

    def __init__(self, directory, num_epochs, *flags):
        self._directory = directory
        self._process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-P",
                    "-m",
                    "monolith_tf",
                    "launch",
                ),
                *("--num_ps=2", "--num_workers=2", *flags),
                f"--log_dir={directory / 'logs'}",
                *(str(PROGRAM), str(directory), str(num_epochs)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
        )
        self.lines = []
        self._timer = threading.Timer(DEADLINE_SECONDS, self._process.kill)
        self._timer.start()

    def read_until(self, text):
        """Returns the next line that has `text` in it."""
        for line in self._process.stdout:
            self.lines.append(line.rstrip())
            if text in line:
                return line
        raise AssertionError(f"no {text!r} after\n" + "\n".join(self.lines))

    def kill(self, name):
        """Kills the process that runs in the place of `name` now."""
        pid = re.findall(rf"{name} started: process (\d+)", self.text())[-1]
        os.kill(int(pid), signal.SIGKILL)

    def let_end(self):
        """Lets the job begin its last epoch."""
        (self._directory / "may_end").touch()

    def finish(self):
        """Returns the report; the job has ended well."""
        self.lines += self._process.stdout.read().splitlines()
        assert self._process.wait() == 0, self.text()
        return json.loads((self._directory / "report.json").read_text())

    def text(self):
        return "\n".join(self.lines)

    def close(self):
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def start(tmp_path):
    jobs = []

    def start_job(*arguments):
        jobs.append(Job(tmp_path, *arguments))
        return jobs[-1]

    yield start_job
    for job in jobs:
        job.close()


@pytest.mark.parametrize("role", ["ps", "chief", "worker"])
def test_training_ends_well_however_often_a_role_is_killed(start, role):
    moments = random.Random(role)
    num_epochs = 6 * KILLS + 2
    job = start(num_epochs, f"--max_restarts={KILLS}")
    for number in range(KILLS):
        job.read_until(" done")
        # At any moment of a step or a checkpoint.
        threading.Event().wait(moments.uniform(0.0, 1.0))
        index = 0 if role == "chief" else number % 2
        job.kill(f"{role} {index}")
        job.read_until(f"{role} {index} (process")
        job.read_until("again")
        if role != "worker":
            first = int(job.read_until("begins at epoch").split()[-1])
            assert first >= 1
    job.let_end()
    report = job.finish()
    assert report["right"] == 1.0
    assert report["rows"] == 64
    if role != "worker":
        # From the checkpoint on as if nothing had been.
        assert report["steps"] == num_epochs * STEPS
    else:
        # A step that its worker had not finished is made by another one.
        assert 0 <= report["steps"] - num_epochs * STEPS <= KILLS
    if role == "ps":
        assert "chief 0 ended by itself with exit code 75" in job.text()
        assert "the cluster failed, so the chief ends" in job.text()


def test_training_goes_on_without_a_worker_that_is_gone_for_good(start):
    job = start(4, "--max_restarts=0")
    job.let_end()
    job.read_until("epoch 1 done")
    job.kill("worker 1")
    job.read_until("worker 1 is gone for good")
    report = job.finish()
    assert 0 <= report["steps"] - 4 * STEPS <= 1
    assert report["right"] == 1.0
