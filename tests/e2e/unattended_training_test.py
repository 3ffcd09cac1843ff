"""Processes of a job are killed at random moments, and nobody helps.

MONOLITH_TF_KILLS says how often each role is killed; `make soak` asks for 20.
"""

import json
import os
import pathlib
import random
import threading

import pytest

from processes import LaunchedJob

PROGRAM = pathlib.Path(__file__).with_name("unattended_training_program.py")
KILLS = int(os.environ.get("MONOLITH_TF_KILLS", "1"))
STEPS = 40
EPOCHS_PER_KILL = 8
# What the chief says when it waits for the leave to make the last epoch.
HELD = "all but the last epoch are done"


@pytest.fixture
def start(tmp_path):
    """Starts jobs of two servers, two workers and a chief."""
    jobs = []

    def start_job(num_epochs, max_restarts):
        flags = ["--num_ps=2", "--num_workers=2"]
        flags.append(f"--max_restarts={max_restarts}")
        job = LaunchedJob(tmp_path, *flags, PROGRAM, tmp_path, num_epochs)
        jobs.append(job)
        return job

    yield start_job
    for job in jobs:
        job.close()


def kill(job, name, moments):
    """Kills a process at any moment of a step or a checkpoint."""
    if HELD not in job.text():
        job.read_until(" done")
    threading.Event().wait(moments.uniform(0.0, 1.0))
    job.kill(name)
    job.read_until(f"{name} (process")


def report_of(job, directory):
    """Lets the last epoch begin; returns what the chief reports at its end."""
    (directory / "may_end").touch()
    job.finish()
    return json.loads((directory / "report.json").read_text())


def test_training_is_exact_however_often_servers_and_the_chief_are_killed(
    start, tmp_path
):
    moments = random.Random("chief")
    victims = [
        name
        for number in range(KILLS)
        for name in (f"ps {number % 2}", "chief 0")
    ]
    num_epochs = EPOCHS_PER_KILL * len(victims) + 2
    # A chief that ends for a dead server may count as a restart of its own.
    job = start(num_epochs, max_restarts=2 * KILLS)
    for name in victims:
        kill(job, name, moments)
        job.read_until("restarting")
        # The end of the old log, which is shown, has a beginning too.
        job.read_until("chief 0 started")
        assert int(job.read_until("begins at epoch").split()[-1]) >= 1
    report = report_of(job, tmp_path)
    assert report["right"] == 1.0
    assert report["rows"] == 64
    # From the checkpoint on as if nothing had been.
    assert report["steps"] == num_epochs * STEPS
    assert "chief 0 exited with code 75" in job.text()
    assert "the cluster failed, so the chief exits" in job.text()


@pytest.mark.soak
def test_training_goes_on_though_workers_are_killed_and_one_for_good(
    start, tmp_path
):
    moments = random.Random("worker")
    num_kills = 2 * KILLS + 1
    num_epochs = EPOCHS_PER_KILL * num_kills + 2
    job = start(num_epochs, max_restarts=KILLS)
    for number in range(num_kills):
        name = f"worker {number % 2}"
        kill(job, name, moments)
        # The last kill is one more than its worker may restart.
        is_last = number == num_kills - 1
        job.read_until(f"{name} is left out" if is_last else "restarting")
    report = report_of(job, tmp_path)
    assert report["right"] == 1.0
    assert report["rows"] == 64
    # A step that its worker had not finished is made by another one.
    assert 0 <= report["steps"] - num_epochs * STEPS <= num_kills
