"""Snapshots under parameter servers are of one step, and survive kill -9."""

import json
import pathlib

import pytest

from processes import LaunchedJob

PROGRAM = pathlib.Path(__file__).with_name("snapshot_program.py")


@pytest.fixture
def start(tmp_path):
    """Starts jobs of two servers, two workers and a chief."""
    jobs = []

    def start_job(num_epochs, *arguments):
        job = LaunchedJob(
            tmp_path,
            *("--num_ps=2", "--num_workers=2"),
            *(PROGRAM, tmp_path, num_epochs, *arguments),
        )
        jobs.append(job)
        return job

    yield start_job
    for job in jobs:
        job.close()


def step_of(line):
    """The number at the end of a line of the program."""
    return int(line.split()[-1])


@pytest.mark.soak
def test_rows_and_dense_weights_are_of_one_step_after_every_kill(
    start, tmp_path
):
    # The program fails if a restored row or weight is not of the step that the
    # manifest says.
    job = start(40)
    assert step_of(job.read_until("begins at step")) == 0
    for name in ("ps 1", "chief 0"):
        for _ in range(3):
            job.read_until("is done")
        job.kill(name)
        job.read_until(f"{name} (process")
        assert step_of(job.read_until("begins at step")) > 0
    job.finish()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"] == [report["steps"]]
    assert report["weight"] == report["steps"]
    assert report["steps"] >= 40 * 50
    assert report["latest"] == report["steps"]
    assert report["failed"] == 0


def test_a_drained_server_costs_no_step_and_a_killed_one_only_its_own(
    start, tmp_path
):
    job = start(30, "partial")
    job.read_until("begins at step")
    for _ in range(3):
        done = job.read_until("is done")
    worker = job.pid("worker 0")
    job.terminate("ps 0")
    assert "has every step" in job.read_until("to be restarted")
    # The server that stays keeps its rows, which are those of the snapshot.
    assert "lost 0 steps" in job.read_until("kept ((0, 1),)")
    drained_at = step_of(job.read_until("begins at step"))
    assert drained_at >= 50 * (int(done.split()[1]) + 1)
    for _ in range(3):
        job.read_until("is done")
    job.kill("ps 1")
    job.read_until("kept ((0, 0),)")
    assert step_of(job.read_until("begins at step")) >= drained_at
    job.finish()
    # Healthy processes were not restarted.
    assert job.pid("worker 0") == worker
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["weight"] == report["steps"] >= 30 * 50
    assert len(report["rows"]) <= 2
    assert report["rows"][0] == report["steps"]
