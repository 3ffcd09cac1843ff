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

    def start_job(num_epochs, *flags):
        job = LaunchedJob(
            tmp_path,
            *("--num_ps=2", "--num_workers=2", *flags),
            *(PROGRAM, tmp_path, num_epochs),
        )
        jobs.append(job)
        return job

    yield start_job
    for job in jobs:
        job.close()


@pytest.mark.soak
def test_rows_and_dense_weights_are_of_one_step_after_every_kill(
    start, tmp_path
):
    # The program fails if a restored row or weight is not of the step that the
    # manifest says.
    job = start(40, "--max_restarts=4")
    assert job.read_until("begins at step").split()[-1] == "0"
    for name in ("ps 1", "chief 0"):
        for _ in range(3):
            job.read_until("is done")
        job.kill(name)
        job.read_until(f"{name} (process")
        assert int(job.read_until("begins at step").split()[-1]) > 0
    job.finish()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"] == [report["steps"]]
    assert report["weight"] == report["steps"]
    assert report["steps"] >= 40 * 50
    assert report["latest"] == report["steps"]
    assert report["failed"] == 0
