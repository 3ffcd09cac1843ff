"""Each row is the exact sum of what all workers sent, each step once."""

import json
import os
import pathlib
import random
import threading

import pytest

from processes import LaunchedJob

PROGRAM = pathlib.Path(__file__).with_name("exact_sum_program.py")
KILLS = int(os.environ.get("MONOLITH_TF_KILLS", "1"))


@pytest.fixture
def start(tmp_path):
    """Starts a job with two servers."""
    jobs = []

    def start_job(num_workers, num_rounds):
        flags = ["--num_ps=2", f"--num_workers={num_workers}"]
        flags.append(f"--max_restarts={KILLS}")
        jobs.append(
            LaunchedJob(tmp_path, *flags, PROGRAM, tmp_path, num_rounds)
        )
        return jobs[-1]

    yield start_job
    for job in jobs:
        job.close()


def report_of(job, directory):
    job.finish()
    return json.loads((directory / "report.json").read_text())


@pytest.mark.soak
def test_every_row_is_the_sum_of_what_four_workers_sent(start, tmp_path):
    report = report_of(start(num_workers=4, num_rounds=5), tmp_path)
    assert report["wrong_rows"] == 0
    assert report["rows"] == report["expected_rows"] > 790
    assert report["workers"] == 4
    assert report["shared"] >= 0.3
    assert report["applied"] == [report["steps"]] * 2
    assert report["repeated"] == [0, 0]


def test_every_row_is_its_sum_though_workers_are_killed(start, tmp_path):
    """Each server applies once what a worker sent before it died."""
    moments = random.Random(1)
    job = start(num_workers=2, num_rounds=3 * KILLS + 2)
    killed = set()
    while len(killed) < KILLS:
        job.read_until("round ")
        threading.Event().wait(moments.uniform(0.0, 0.5))
        # In turns, but one that was killed may not have come back yet.
        for number in (len(killed) % 2, (len(killed) + 1) % 2):
            pid = job.pid(f"worker {number}")
            if pid not in killed:
                job.kill(f"worker {number}")
                killed.add(pid)
                break
    report = report_of(job, tmp_path)
    assert report["wrong_rows"] == 0
    assert report["rows"] == report["expected_rows"]
    assert report["applied"] == [report["steps"]] * 2
    assert max(report["repeated"]) <= KILLS
